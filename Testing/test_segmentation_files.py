"""Segmentations are written whole or not at all, and hold what 3D Slicer reads from them."""

import errno
import os
import re
import subprocess
import sys
import time
from contextlib import nullcontext

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib.errors import InputError, OutputError
from HLFDSegmentationLib.given_segmentation import read_segmentation
from HLFDSegmentationLib.image_points import image_like
from HLFDSegmentationLib.output.output_folder import new_folder
from HLFDSegmentationLib.output.safe_files import replacing
from HLFDSegmentationLib.output.segmentation_files import write_image, write_segmentation_nrrd
from HLFDSegmentationLib.tasks import TASKS

TASK = TASKS["abdomen"]


def labels() -> sitk.Image:
    """Liver (1) and kidney (2), no tumor, on a grid with a direction of its own."""
    voxels = np.zeros((6, 20, 30), np.uint8)
    voxels[1:5, 2:12, 3:20] = 1
    voxels[2:3, 14:19, 25:30] = 2
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.75, 0.5, 2.5))
    image.SetOrigin((-120.5, 44.25, 1002.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    return image


def header(path) -> dict[str, str]:
    """The key/value pairs of a NRRD header."""
    text = path.read_bytes().split(b"\n\n", 1)[0].decode()
    return dict(re.findall(r"^([^:#\n]+):=(.*)$", text, re.MULTILINE))


def test_nifti_and_nrrd_hold_the_labels_on_their_grid(tmp_path):
    write_image(labels(), tmp_path / "segmentation.nii.gz")
    write_segmentation_nrrd(labels(), TASK, tmp_path / "segmentation.seg.nrrd")
    for name in ("segmentation.nii.gz", "segmentation.seg.nrrd"):
        again = sitk.ReadImage(str(tmp_path / name))
        assert sitk.Hash(again) == sitk.Hash(labels()) and again.GetPixelID() == sitk.sitkUInt8
        assert again.GetOrigin() == labels().GetOrigin() and again.GetSpacing() == labels().GetSpacing()
        assert again.GetDirection() == labels().GetDirection()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["segmentation.nii.gz", "segmentation.seg.nrrd"]


def test_header_of_a_slicer_segmentation(tmp_path):
    path = tmp_path / "segmentation.seg.nrrd"
    write_segmentation_nrrd(labels(), TASK, path)
    assert b"encoding: gzip" in path.read_bytes()
    found = header(path)
    for index, label in enumerate(TASK.labels):
        assert found[f"Segment{index}_ID"] == f"Segment_{label.value}"
        assert found[f"Segment{index}_Name"] == label.name
        assert found[f"Segment{index}_LabelValue"] == str(label.value)
        assert found[f"Segment{index}_Layer"] == "0"
        color = [float(channel) for channel in found[f"Segment{index}_Color"].split()]
        assert color == pytest.approx([channel / 255 for channel in label.color], abs=1e-4)
        assert found[f"Segment{index}_Tags"] == f"TerminologyEntry:{label.terminology}|"
    assert found["Segment0_Extent"] == "3 19 2 11 1 4"
    assert found["Segment1_Extent"] == "25 29 14 18 2 2"
    assert found["Segment2_Extent"] == "0 -1 0 -1 0 -1"
    assert found["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert found["Segmentation_MasterRepresentation"] == "Binary labelmap"
    assert found["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"


def test_a_slicer_segmentation_is_read_by_its_names_and_refused_where_they_have_no_values(tmp_path):
    """As old versions of Slicer write it: values could be taken for other labels than those of their names."""
    path = tmp_path / "segmentation.seg.nrrd"
    write_segmentation_nrrd(labels(), TASK, path)
    content = path.read_bytes().replace(b"Segment0_Name:=liver\n", b"Segment0_Name:=kidney tumor\n")
    path.write_bytes(content.replace(b"Segment3_Name:=kidney tumor\n", b"Segment3_Name:=liver\n"))
    on_ct, _cautions, notes = read_segmentation(path, labels(), TASK)
    assert set(np.unique(sitk.GetArrayViewFromImage(on_ct))) == {0, 2, 4} and notes == []
    path.write_bytes(re.sub(rb"Segment\d_LabelValue:=.*\n", b"", path.read_bytes()))
    with pytest.raises(InputError, match=r"its segment 'kidney tumor' has.*Load it in 3D Slicer and save it again"):
        read_segmentation(path, labels(), TASK)


def test_values_without_names_that_may_mean_something_else_are_a_caution(tmp_path):
    """As of a KiTS file, whose 2 is a tumor."""
    path, all_of_them = tmp_path / "labels.nii.gz", sitk.GetArrayFromImage(labels())
    sitk.WriteImage(labels(), str(path))
    _, (caution,), notes = read_segmentation(path, labels(), TASK)
    assert "its values were taken: 1 for liver, 2 for kidney. LiTS and KiTS files use 1 and 2 for" in caution
    assert notes == []
    all_of_them[3, 5, 5:7] = 3, 4
    sitk.WriteImage(image_like(all_of_them, labels()), str(path))
    _, cautions, (note,) = read_segmentation(path, labels(), TASK)
    assert cautions == [] and "3 for liver tumor, 4 for kidney tumor." in note
    sitk.WriteImage(sitk.Cast(labels() == 1, sitk.sitkUInt8), str(path))
    _, cautions, (note,) = read_segmentation(path, labels(), TASKS["kidney-tumor"])
    assert cautions == [] and note.endswith("so its values were taken: 1 for kidney.")


def test_values_that_are_whole_but_for_rounding_are_taken_and_others_told_in_full(tmp_path):
    path, drawn = tmp_path / "labels.nii.gz", sitk.Cast(labels(), sitk.sitkFloat32)
    sitk.WriteImage(drawn * (1 - 1e-6), str(path))
    on_ct, *_ = read_segmentation(path, labels(), TASK)
    assert sitk.Hash(on_ct) == sitk.Hash(labels())
    sitk.WriteImage(sitk.Cast(labels(), sitk.sitkFloat64) * 1.0025, str(path))
    with pytest.raises(InputError, match=r"shows the value 1.0025, which is no whole number"):
        read_segmentation(path, labels(), TASK)


def test_writing_leaves_the_labels_without_metadata(tmp_path):
    image = labels()
    write_segmentation_nrrd(image, TASK, tmp_path / "a.seg.nrrd")
    assert image.GetMetaDataKeys() == ()


def test_a_new_file_replaces_the_old_one_and_makes_its_folder(tmp_path):
    path = tmp_path / "new" / "folder" / "map.nii.gz"
    write_image(labels(), path)
    write_image(labels() * 3, path)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(path))).max() == 6


def test_replacing_keeps_the_old_file_when_the_block_raises(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        part.write_text("half")
        assert part.suffixes == path.suffixes
        _ = 1 / 0
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_leaves_nothing_when_interrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "result.nii.gz") as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_program_filled_meanwhile_is_left_and_the_results_are_kept(tmp_path):
    (tmp_path / "results").mkdir()
    report = tmp_path / "results" / "report.html"
    with pytest.raises(OutputError, match=r"now holds report\.html"), new_folder(report.parent) as part:
        (part / "report.html").write_text("new")
        report.write_text("another program's")
    assert report.read_text() == "another program's"
    (kept,) = report.parent.glob(".hlfd.*")
    assert (kept / "report.html").read_text() == "new"


@pytest.mark.parametrize("refusals", [1, 1000])
def test_a_file_that_somebody_has_open_is_replaced_when_it_is_closed(tmp_path, monkeypatch, refusals):
    """As on Windows, which refuses to replace an open file."""
    path, replace, left = tmp_path / "lock.json", os.replace, [refusals]
    path.write_text("old")

    def refusing(part, path):
        if left[0]:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "open elsewhere")
        replace(part, path)

    monkeypatch.setattr(os, "replace", refusing)
    with (
        nullcontext() if refusals == 1 else pytest.raises(OutputError, match="may not be changed"),
        replacing(path) as part,
    ):
        part.write_text("new")
    assert path.read_text() == ("new" if refusals == 1 else "old")
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_that_is_open_in_excel_is_told_so(tmp_path, monkeypatch):
    path = tmp_path / "readings.csv"
    path.write_text("old")

    def refuse(_part, _path):
        raise PermissionError(errno.EACCES, "Access is denied")

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(OutputError, match="Excel"), replacing(path) as part:
        part.write_text("new")
    assert path.read_text() == "old"


def test_colleagues_may_read_what_is_written_as_all_in_its_folder(tmp_path):
    """What is moved out of a private folder stays private on Windows."""
    usual = tmp_path / "usual"
    usual.mkdir()
    with replacing(tmp_path / "report.html") as part:
        assert part.parent.stat().st_mode == usual.stat().st_mode
        part.touch()


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"Choose another folder"):
        write_image(labels(), tmp_path / "file" / "map.nii.gz")


def test_folder_that_may_not_be_written_to():
    with pytest.raises(OutputError, match=r"could not be written"):
        write_image(labels(), "/proc/map.nii.gz")


WRITE = """
import resource, signal, sys
import numpy as np, SimpleITK as sitk
from HLFDSegmentationLib import phantom
from HLFDSegmentationLib.errors import OutputError
from HLFDSegmentationLib.output.segmentation_files import write_image, write_segmentation_nrrd
from HLFDSegmentationLib.tasks import TASKS
labels = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 3, (40, 60, 60), dtype=np.uint8))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    if sys.argv[1].endswith("ct.nii.gz"):
        phantom.make_phantom = lambda seed: phantom.Phantom(labels, labels)
        phantom.write_phantom(sys.argv[1].removesuffix("ct.nii.gz"))
    elif sys.argv[1].endswith(".nii.gz"):
        write_image(labels, sys.argv[1])
    else:
        write_segmentation_nrrd(labels, TASKS["kidney-tumor"], sys.argv[1])
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["segmentation.nii.gz", "segmentation.seg.nrrd", "ct.nii.gz"])
@pytest.mark.parametrize("limit", [0, 20_000])
def test_disk_full(tmp_path, name, limit):
    """No room for the file: a limit on the size of files stands for the full disk."""
    path = tmp_path / name
    path.write_text("old")
    run = subprocess.run(
        [sys.executable, "-c", WRITE, str(path), str(limit)], capture_output=True, text=True, check=True
    )
    assert f"{path} could not be written" in run.stdout
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
