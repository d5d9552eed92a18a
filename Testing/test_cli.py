"""The `hlfd` command as a user types it."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import resource
import shlex
import shutil
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from generated_cases import blob_case, write_cases
from HLFDSegmentationLib import inference
from HLFDSegmentationLib.attention import Focus, LayerAttention
from HLFDSegmentationLib.errors import OutputError
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_files.model_import import REFUSED
from HLFDSegmentationLib.model_package import read_package
from HLFDSegmentationLib.output import output_folder
from HLFDSegmentationLib.output.attention_files import write_attention
from HLFDSegmentationLib.tasks import TASKS
from HLFDSegmentationLib.volumes import AxialSlices
from HLFDTrainingLib.cases import write_cases_json
from HLFDTrainingLib.cli import main
from HLFDTrainingLib.commands import segmenting
from HLFDTrainingLib.learning.stage import Stopped
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.run_lock import training_in
from HLFDTrainingLib.runs.run_state import STOPPED_STATUS
from HLFDTrainingLib.runs.stop_signal import ending_as_interrupted
from test_bad_ct import SERIES, write_series
from training_runs import PLAN, begin_run

LAYERS = [f"encoder{level}" for level in range(1, 6)] + [f"decoder{level}" for level in range(5, 1, -1)]


@pytest.fixture
def ct_file(tmp_path):
    path = tmp_path / "patient.nii.gz"
    sitk.WriteImage(blob_case(0)[0], str(path))
    return path


def segment(ct, output, package, *options) -> int:
    return main(["segment", str(ct), "-o", str(output), "--model", str(package), "--device", "cpu", *options])


def assert_refused(status: int, capsys, output: Path, *words: str) -> None:
    """Exit status 1, one sentence on standard error, and nothing written."""
    assert status == 1
    error = capsys.readouterr().err
    assert error.startswith("hlfd: ") or "\nhlfd: " in error
    for word in words:
        assert word in error
    assert not output.exists()
    assert not list(output.parent.glob(".*"))


def test_segment_writes_everything_it_promises(ct_file, tmp_path, untrained_package, capsys):
    output = tmp_path / "result"
    assert segment(ct_file, output, untrained_package, "--attention") == 0
    labels = sitk.ReadImage(str(output / "segmentation.nii.gz"))
    ct = sitk.ReadImage(str(ct_file))
    assert labels.GetSize() == ct.GetSize()
    assert labels.GetSpacing() == ct.GetSpacing()
    found = [
        name for value, name in ((1, "liver"), (2, "liver tumor")) if (sitk.GetArrayFromImage(labels) == value).any()
    ]
    assert found, "the untrained network finds nothing: choose another seed"
    maps = {path.name for path in (output / "attention").iterdir()}
    assert maps == {f"{name.replace(' ', '_')}_{layer}.nii.gz" for name in found for layer in LAYERS}
    for path in (output / "attention").iterdir():
        assert np.isfinite(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))).all()
    with open(output / "attention.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], row["layer"]) for row in rows] == [(name, layer) for name in found for layer in LAYERS]
    assert (output / "segments.csv").is_file() and (output / "segmentation.seg.nrrd").is_file()
    assert "research use only" in (output / "report.html").read_text(encoding="utf-8").lower()
    assert "report.html" in capsys.readouterr().out


def test_maps_lie_on_the_ct(ct_file, tmp_path, untrained_package):
    output = tmp_path / "result"
    segment(ct_file, output, untrained_package, "--attention")
    ct = sitk.ReadImage(str(ct_file))
    for path in (output / "attention").iterdir():
        layer = sitk.ReadImage(str(path))
        corner = layer.TransformContinuousIndexToPhysicalPoint((-0.5, -0.5, -0.5))
        assert corner == pytest.approx(ct.TransformContinuousIndexToPhysicalPoint((-0.5, -0.5, -0.5)), abs=1e-3)
        assert layer.GetSize()[2] == ct.GetSize()[2]


def smallest_attention(output: Path) -> float:
    files = (output / "attention").iterdir()
    return min(sitk.GetArrayFromImage(sitk.ReadImage(str(file))).min() for file in files)


def test_signed_maps_on_request(ct_file, tmp_path, untrained_package):
    segment(ct_file, tmp_path / "result", untrained_package, "--attention", "--signed")
    assert smallest_attention(tmp_path / "result") < 0


def test_the_files_hold_what_the_library_gives(ct_file, tmp_path, untrained_package, capsys):
    output = tmp_path / "result"
    assert segment(ct_file, output, untrained_package, "--attention") == 0
    library = Segmenter(read_package(untrained_package), "cpu").segment(sitk.ReadImage(str(ct_file)), attention=True)
    with open(output / "attention.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row, layer in zip(rows, library.attention, strict=True):
        written = sitk.GetArrayFromImage(sitk.ReadImage(str(output / row["file"])))
        assert np.allclose(written, layer.maps, atol=1e-5)
        assert (row["label"], row["layer"]) == (layer.label, layer.layer)
        assert row["empty"] == ("yes" if layer.empty else "no")
        for column in ("segment", "organ"):
            for name in (f"focus_{column}", f"{column}_share_of_body", f"{column}_ratio"):
                value = getattr(layer.focus, name.removeprefix("focus_")) if layer.focus else None
                assert row[name] == ("" if value is None else f"{value:.4f}")
    assert any(layer.focus and layer.focus.segment < layer.focus.organ for layer in library.attention)
    with open(output / "segments.csv", encoding="utf-8") as stream:
        volumes = {row["segment"]: float(row["volume_mL"]) for row in csv.DictReader(stream) if not row["lesion"]}
    printed = dict(re.findall(r"^(liver|liver tumor) +([\d.]+) mL", capsys.readouterr().out, re.MULTILINE))
    assert printed == {name: f"{volume:.1f}" for name, volume in volumes.items()}


def test_a_voxel_of_tumor_is_not_printed_as_none(tmp_path, untrained_package, capsys, monkeypatch):
    def one_voxel(labels: np.ndarray, *_: object) -> list[str]:
        labels[...] = 0
        labels[2, 20, 20] = 2
        return []

    monkeypatch.setattr(inference, "clean", one_voxel)
    ct, ct_file = blob_case(0)[0], tmp_path / "ct.nii.gz"
    ct.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(ct, str(ct_file))
    assert segment(ct_file, tmp_path / "result", untrained_package) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"liver               0.0 mL", "liver tumor       < 0.1 mL, lesions: 1"} <= set(lines)


def test_small_shares_of_attention_are_in_the_table_with_four_digits(ct_file, tmp_path):
    slices = AxialSlices(sitk.ReadImage(str(ct_file)), TASKS["liver-tumor"])
    maps = np.zeros((slices.count, 2, 2), np.float32)
    focus = Focus(0.00001234, 0.51234, 0.00002, 0.25)
    write_attention([LayerAttention("liver", "encoder5", maps, False, maps > 0, focus, False)], slices, tmp_path)
    row = (tmp_path / "attention.csv").read_text(encoding="utf-8").splitlines()[1].split(",")
    assert row[3:-1] == ["0.00001234", "0.5123", "0.00002000", "0.2500", "0.6170", "2.0494"]


def test_the_tumor_threshold_is_used_and_told(ct_file, tmp_path, untrained_package, capsys):
    assert segment(ct_file, tmp_path / "result", untrained_package, "--tumor-threshold", "0.1") == 0
    one, ct = Segmenter(read_package(untrained_package), "cpu"), sitk.ReadImage(str(ct_file))
    asked, usual = (sitk.GetArrayFromImage(one.segment(ct, tumor_threshold=p).labels) for p in (0.1, None))
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "result" / "segmentation.nii.gz")))
    assert np.array_equal(written, asked) and not np.array_equal(written, usual)
    assert "Note: As was asked for, a voxel was called tumor from a probability of 0.1 on" in capsys.readouterr().out


def test_second_place_of_a_ct_is_told(tmp_path, untrained_package, capsys):
    """As of a CT that was aligned with another image: a program that reads the sform shows the outlines elsewhere."""
    ct, output = tmp_path / "ct.nii", tmp_path / "result"
    sitk.WriteImage(blob_case(0)[0], str(ct))
    content = bytearray(ct.read_bytes())
    struct.pack_into("<2h", content, 252, 1, 2)
    struct.pack_into("<f", content, 324, struct.unpack_from("<f", content, 324)[0] + 300)
    ct.write_bytes(content)
    assert segment(ct, output, untrained_package) == 0
    for told in (capsys.readouterr().out, (output / "report.html").read_text(encoding="utf-8")):
        assert "places the patient in two ways, which differ by 0° and 300 mm. Its qform was used" in told


def explain(ct, segmentation, output, package, *options) -> int:
    arguments = [str(ct), str(segmentation), "-o", str(output), "--model", str(package), "--device", "cpu"]
    return main(["explain", *arguments, *options])


def test_explain_shows_the_layers_for_the_users_own_segmentation(ct_file, tmp_path, untrained_package, capsys):
    """For the labels as they are given, also where the network finds none of them."""
    label = tmp_path / "corrected.nii.gz"
    sitk.WriteImage(blob_case(0)[1], str(label))
    output = tmp_path / "why"
    assert explain(ct_file, label, output, untrained_package) == 0
    assert {path.name for path in output.iterdir()} == {"attention", "attention.csv", "report.html", "segments.csv"}
    with open(output / "attention.csv", encoding="utf-8") as stream:
        rows = [(row["label"], row["layer"]) for row in csv.DictReader(stream)]
    assert rows == [(name, layer) for name in ("liver", "liver tumor") for layer in LAYERS]
    assert smallest_attention(output) == 0
    given = sitk.GetArrayFromImage(blob_case(0)[1])
    voxel_ml = np.prod(blob_case(0)[1].GetSpacing()) / 1000
    with open(output / "segments.csv", encoding="utf-8") as stream:
        volumes = {row["segment"]: float(row["volume_mL"]) for row in csv.DictReader(stream) if not row["lesion"]}
    assert volumes["liver tumor"] == pytest.approx((given == 2).sum() * voxel_ml, abs=1e-3)
    report = (output / "report.html").read_text(encoding="utf-8")
    assert "Segmentation from corrected.nii.gz" in report and "Segmented by" not in report
    told = capsys.readouterr().out
    assert "encoder1" in told
    assert "has no names, so its values were taken: 1 for liver, 2 for liver tumor" in told


def test_explain_gives_signed_maps_on_request(ct_file, tmp_path, untrained_package):
    sitk.WriteImage(blob_case(0)[1], str(tmp_path / "mine.nii.gz"))
    assert explain(ct_file, tmp_path / "mine.nii.gz", tmp_path / "why", untrained_package, "--signed") == 0
    assert smallest_attention(tmp_path / "why") < 0


def test_explain_tells_what_of_a_segmentation_lies_outside_of_the_ct(ct_file, tmp_path, untrained_package):
    label = blob_case(0)[1]
    columns = np.nonzero(sitk.GetArrayViewFromImage(label))[2]
    out = label.GetSize()[0] - int(np.percentile(columns, 80))
    label.SetOrigin(label.TransformContinuousIndexToPhysicalPoint((float(out), 0.0, 0.0)))
    sitk.WriteImage(label, str(tmp_path / "shifted.nii.gz"))
    assert explain(ct_file, tmp_path / "shifted.nii.gz", tmp_path / "why", untrained_package) == 0
    assert "of the segmentation lies outside of the CT" in (tmp_path / "why" / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("moved", "size", "caution", "note"),
    [
        ((0.0, 0.0, 0.0), None, False, None),
        ((3.0, -2.0, 0.0), None, True, None),
        ((0.5, 0.0, 0.0), None, True, "lie between the CT's, by 0.50 of a voxel"),
        ((2.0, 1.0, 0.0), (50, 50, 6), False, None),
        ((2.4, 1.0, 0.0), (50, 50, 6), False, "lie between the CT's, by 0.40 of a voxel"),
    ],
)
def test_explain_tells_of_a_segmentation_that_lies_beside_the_ct(
    ct_file, tmp_path, untrained_package, moved, size, caution, note, capsys
):
    """Moved by so many voxels; one that is cut to what it shows may begin at any voxel of the CT."""
    label = blob_case(0)[1]
    label = label[: size[0], : size[1]] if size else label
    label.SetOrigin(label.TransformContinuousIndexToPhysicalPoint(moved))
    sitk.WriteImage(label, str(tmp_path / "moved.nii.gz"))
    assert explain(ct_file, tmp_path / "moved.nii.gz", tmp_path / "why", untrained_package) == 0
    told = capsys.readouterr().out
    assert ("has as many voxels as the CT, but they do not lie on the CT's" in told) == caution
    assert (note in told) if note else ("resampled" not in told)


def test_explain_takes_a_segmentation_that_is_stored_the_other_way_round_and_tells_one_that_is_turned(
    ct_file, tmp_path, untrained_package, capsys
):
    label = blob_case(0)[1]
    sitk.WriteImage(sitk.Flip(label, (True, True, False)), str(tmp_path / "flipped.nrrd"))
    assert explain(ct_file, tmp_path / "flipped.nrrd", tmp_path / "flipped", untrained_package) == 0
    told = capsys.readouterr().out
    assert "resampled" not in told and "do not lie on" not in told
    label.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0, 0, 0.1).GetMatrix())
    sitk.WriteImage(label[:60], str(tmp_path / "turned.nrrd"))
    assert explain(ct_file, tmp_path / "turned.nrrd", tmp_path / "turned", untrained_package) == 0
    assert "axes that are turned against the CT's" in capsys.readouterr().out


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1)])
@pytest.mark.parametrize(("spacing", "told"), [((1, 1, 1), True), ((1, 1, 2), False)])
def test_a_ct_that_lost_its_geometry_is_told(tmp_path, untrained_package, direction, spacing, told, capsys):
    """As programs write it that know none, be it as ITK or as NIfTI counts."""
    ct = blob_case(0)[0]
    ct.SetSpacing(spacing)
    ct.SetDirection(direction)
    sitk.WriteImage(ct, str(tmp_path / "ct.nii.gz"))
    assert segment(tmp_path / "ct.nii.gz", tmp_path / "result", untrained_package) == 0
    words = "its origin at 0 and axes without a turn, as programs write that"
    assert (words in capsys.readouterr().out) == told
    assert (words in (tmp_path / "result" / "report.html").read_text(encoding="utf-8")) == told


def test_explain_tells_of_other_voxels_and_refuses_an_empty_segmentation(ct_file, tmp_path, untrained_package, capsys):
    label = blob_case(0)[1]
    sitk.WriteImage(label * 0, str(tmp_path / "empty.nii.gz"))
    assert explain(ct_file, tmp_path / "empty.nii.gz", tmp_path / "none", untrained_package) == 1
    assert "is empty: no voxel has a label" in capsys.readouterr().err
    label.SetSpacing([0.9 * spacing for spacing in label.GetSpacing()])
    sitk.WriteImage(label, str(tmp_path / "smaller.nii.gz"))
    assert explain(ct_file, tmp_path / "smaller.nii.gz", tmp_path / "why", untrained_package) == 0
    assert "so it was resampled" in (tmp_path / "why" / "report.html").read_text("utf-8")


def test_explaining_what_the_model_found_is_what_segmenting_shows(ct_file, tmp_path, untrained_package):
    """Also from the file that 3D Slicer opens, cut to a part of the CT as Slicer stores it, with values of its own."""
    assert segment(ct_file, tmp_path / "found", untrained_package, "--attention") == 0
    stored = sitk.ReadImage(str(tmp_path / "found" / "segmentation.seg.nrrd"))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(stored > 0)
    x, y, z, width, height, depth = shape.GetBoundingBox(1)
    cut = stored[x : x + width, y : y + height, z : z + depth]
    renumbered = cut * 10
    for key in stored.GetMetaDataKeys():
        value = stored.GetMetaData(key)
        renumbered.SetMetaData(key, f"{value}0" if key.endswith("_LabelValue") else value)
    sitk.WriteImage(renumbered, str(tmp_path / "mine.seg.nrrd"))
    assert explain(ct_file, tmp_path / "mine.seg.nrrd", tmp_path / "why", untrained_package) == 0
    found, why = ((tmp_path / name / "attention.csv").read_text() for name in ("found", "why"))
    assert found == why
    assert "has no names" not in (tmp_path / "why" / "report.html").read_text("utf-8")


def test_explain_says_with_caution_what_it_did_not_judge(ct_file, tmp_path, untrained_package, capsys):
    """Else its report seems to clear a result of the cautions that segmenting told."""
    sitk.WriteImage(blob_case(0)[1], str(tmp_path / "label.nii.gz"))
    assert explain(ct_file, tmp_path / "label.nii.gz", tmp_path / "why", untrained_package) == 0
    sentence = "whether what it calls tumor is any, and whether the CT has contrast medium, was not judged."
    assert f"Caution: This segmentation was given: {sentence}" in capsys.readouterr().out
    report = (tmp_path / "why" / "report.html").read_text("utf-8")
    (cautions,) = re.findall('<section class="warning">.*?</section>', report)
    assert sentence in cautions


def test_explain_of_a_task_without_tumors_has_no_caution_on_tumors(ct_file, tmp_path, untrained_package, monkeypatch):
    package = read_package(untrained_package)
    liver, _ = package.task.labels
    without = replace(package.task, labels=(liver, replace(liver, value=2, name="spleen")))
    monkeypatch.setattr("HLFDSegmentationLib.model_store.find_package", lambda name: replace(package, task=without))
    sitk.WriteImage(blob_case(0)[1], str(tmp_path / "label.nii.gz"))
    assert explain(ct_file, tmp_path / "label.nii.gz", tmp_path / "why", untrained_package) == 0
    assert "not judged" not in (tmp_path / "why" / "report.html").read_text("utf-8")


def test_explain_refuses_what_the_model_does_not_know(ct_file, tmp_path, untrained_package, capsys):
    label = blob_case(0)[1]
    sitk.WriteImage(label * 7, str(tmp_path / "seven.nii.gz"))
    output = tmp_path / "why"
    status = explain(ct_file, tmp_path / "seven.nii.gz", output, untrained_package)
    assert_refused(status, capsys, output, "value 7", "liver tumor (2)")
    label.SetOrigin((5000.0, 0.0, 0.0))
    sitk.WriteImage(label, str(tmp_path / "elsewhere.nii.gz"))
    status = explain(ct_file, tmp_path / "elsewhere.nii.gz", output, untrained_package)
    assert_refused(status, capsys, output, "nothing on the CT")
    label.SetOrigin(blob_case(0)[1].GetOrigin())
    shifted = sitk.Image(label)
    shifted.SetOrigin(label.TransformContinuousIndexToPhysicalPoint((45.0, 0.0, 0.0)))
    sitk.WriteImage(shifted, str(tmp_path / "shifted.nii.gz"))
    assert_refused(explain(ct_file, tmp_path / "shifted.nii.gz", output, untrained_package), capsys, output, "% of it")
    holes = sitk.GetImageFromArray(np.full((6, 64, 64), np.nan, np.float32))
    for name in ("holes.nrrd", "holes.nii.gz"):
        sitk.WriteImage(holes, str(tmp_path / name))
        assert_refused(explain(ct_file, tmp_path / name, output, untrained_package), capsys, output, "background")


def test_explain_refuses_a_segmentation_that_does_not_say_how_the_patient_lies(
    ct_file, tmp_path, untrained_package, capsys
):
    """It would be laid on the CT by a guess, and show the attention for another place."""
    path = tmp_path / "label.nii"
    sitk.WriteImage(blob_case(0)[1], str(path))
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)
    path.write_bytes(content)
    output = tmp_path / "why"
    assert_refused(explain(ct_file, path, output, untrained_package), capsys, output, "how the patient lies")


def test_results_are_never_overwritten(ct_file, tmp_path, untrained_package, capsys):
    output = tmp_path / "result"
    output.mkdir()
    (output / "mine.txt").write_text("hours of work")
    assert segment(ct_file, output, untrained_package) == 1
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == ["mine.txt"]


def test_the_current_folder_and_a_link_are_filled_where_they_are_empty(
    ct_file, tmp_path, untrained_package, monkeypatch
):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "here")
    for folder in (Path("."), tmp_path / "link"):
        assert segment(ct_file, folder, untrained_package) == 0
        assert (folder / "report.html").is_file() and not list(folder.glob(".*"))
    assert (tmp_path / "link").is_symlink()


def test_empty_folder_is_filled(ct_file, tmp_path, untrained_package):
    (tmp_path / "result").mkdir()
    assert segment(ct_file, tmp_path / "result", untrained_package) == 0


def photograph(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((20, 30, 3), np.uint8), isVector=True), str(path))


def four_dimensional(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5, 6), np.int16)), str(path))


def all_air(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 20, 20), -1000, np.int16)), str(path))


def holes(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 20, 20), np.nan, np.float32)), str(path))


def color(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 20, 20, 3), np.uint8), isVector=True), str(path))


def no_voxels(path: Path) -> None:
    path.write_text("NRRD0004\ntype: short\ndimension: 3\nsizes: 0 4 4\nencoding: raw\n\n")


def no_spacing(path: Path) -> None:
    header = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementSpacing = 0 1 1\nElementType = MET_CHAR\n"
    path.write_bytes(header.encode() + b"ElementDataFile = LOCAL\n" + bytes(8))


def two_series(path: Path) -> None:
    write_series(path, [(0, 0, z) for z in (0.0, 2.5, 5.0)])
    write_series(path, [(0, 0, z) for z in (0.0, 2.5, 5.0)], uid=f"{SERIES}.8", first=3)


def slice_gap(path: Path) -> None:
    write_series(path, [(0, 0, z) for z in (0.0, 2.5, 5.0, 10.0, 12.5)])


BAD_INPUTS = {
    "color.nrrd": color,
    "nothing.nrrd": no_voxels,
    "spacing.mha": no_spacing,
    "two_series": two_series,
    "slice_gap": slice_gap,
    "n" * 300: lambda path: None,
    "absent.nii.gz": lambda path: None,
    "text.nii.gz": lambda path: path.write_text("no image"),
    "folder": lambda path: path.mkdir(),
    "photo.png": photograph,
    "series.nii.gz": four_dimensional,
    "air.nrrd": all_air,
    "nan.mha": holes,
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_a_sentence_and_leaves_nothing(name, tmp_path, untrained_package, capsys):
    BAD_INPUTS[name](tmp_path / name)
    output = tmp_path / "result"
    assert_refused(segment(tmp_path / name, output, untrained_package), capsys, output, name)


@pytest.mark.parametrize("output", ["file/result", "n" * 300])
def test_an_output_that_cannot_be_made_is_told_before_segmenting(
    output, ct_file, tmp_path, untrained_package, capsys, monkeypatch
):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("HLFDSegmentationLib.pipeline.Segmenter", None)
    assert segment(ct_file, tmp_path / output, untrained_package) == 1
    assert capsys.readouterr().err.startswith("hlfd: ")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("output", ["disk", "disk/results/new"])
def test_an_output_behind_a_link_to_a_disk_that_is_gone_is_told_before_segmenting(
    output, ct_file, tmp_path, untrained_package, capsys, monkeypatch
):
    (tmp_path / "disk").symlink_to(tmp_path / "unplugged")
    monkeypatch.setattr("HLFDSegmentationLib.pipeline.Segmenter", None)
    assert segment(ct_file, tmp_path / output, untrained_package) == 1
    told = capsys.readouterr().err
    assert f"{tmp_path / 'disk'} is a link to {tmp_path / 'unplugged'}, which is not there" in told


def test_signed_maps_without_attention_are_not_forgotten_silently(ct_file, tmp_path, untrained_package, capsys):
    output = tmp_path / "result"
    assert_refused(segment(ct_file, output, untrained_package, "--signed"), capsys, output, "--attention")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--method", "typo"), ("--device", "tpu"), ("--teacher-weights", "absent.pt"), ("--student-weights", "absent.pt")],
)
def test_a_mistyped_option_begins_no_run(option, value, tmp_path, capsys):
    run = tmp_path / "run"
    status = main(
        ["train", str(write_cases(tmp_path / "cases", 3)), "-o", str(run), "--task", "liver-tumor", option, value]
    )
    assert_refused(status, capsys, run, value)


@pytest.mark.parametrize(
    ("given", "told"),
    [(["--epochs", "99"], "--epochs"), (["--teacher-weights", "other"], "--teacher-weights"), (["other"], "CASES")],
)
def test_what_a_begun_run_would_not_follow_is_refused(given, told, tmp_path, capsys):
    assert main(["train", *given, "-o", str(tmp_path / "run"), "--resume"]) == 1
    assert f"Leave out {told}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["compare", "C", "-o", "D", "--methods", "none", "--fractions", "0.5,0.5"], "as 0.7,0.1,0.2"),
        (["compare", "C", "-o", "D", "--methods", "none", "--seeds", "a"], "as 0,1,2"),
        (["compare", "C", "-o", "D", "--methods", "none", "--workers", "0"], "whole number from 1 on"),
        (["compare", "C", "-o", "D", "--methods", "none,"], "a comma"),
        (["compare", "C", "-o", "D", "--methods", "none", "--scheduler", "server"], "as tcp://HOST:8786"),
        (["segment", "C", "-o", "D", "--tumor-threshold", "50%"], "as 0.5"),
        (["train", "C", "-o", "D", "--hours", "soon"], "as 1.5"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_one_of_the_right(command, told, capsys):
    with pytest.raises(SystemExit):
        main(command)
    assert told in capsys.readouterr().err


def test_a_task_without_the_cases_that_it_explains_is_not_forgotten_silently(tmp_path, capsys):
    run = begin_run(tmp_path / "run", cases=2)
    command = ["evaluate", str(run.path), "-o", str(tmp_path / "figures.csv"), "--task", "abdomen"]
    assert_refused(main(command), capsys, tmp_path / "figures.csv", "or name CASES")


def test_a_case_whose_name_is_no_utf_8_is_told_with_what_to_do(tmp_path, capsys):
    """As from a disk of an older system."""
    cases = write_cases(tmp_path / "cases", 3)
    (cases / "case0").rename(cases / os.fsdecode(b"M\xfcller"))
    command = ["train", str(cases), "-o", str(tmp_path / "run"), "--task", "liver-tumor", "--device", "cpu"]
    assert main(command) == 1
    assert "Rename" in capsys.readouterr().err  # A narrow table breaks the sentence.
    assert not RunFolder(tmp_path / "run").started


def test_a_teacher_for_a_student_that_learns_alone_is_refused(tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", str(write_cases(tmp_path / "cases", 3)), "-o", str(run), "--task", "liver-tumor"]
    assert main([*command, "--method", "none", "--teacher-weights", "any.pt"]) == 1
    assert "--teacher-weights would not be used" in capsys.readouterr().err
    assert main([*command, "--method", "none", "--teacher", "unet++"]) == 1
    assert "--teacher would not be used" in capsys.readouterr().err
    assert not run.exists()


def test_workers_beside_a_scheduler_that_has_its_own_are_refused(tmp_path, capsys):
    command = ["compare", str(tmp_path), "-o", str(tmp_path / "compared"), "--methods", "none", "--workers", "4"]
    assert main([*command, "--scheduler", "tcp://server:8786"]) == 1
    assert "--workers would not be used" in capsys.readouterr().err


@pytest.mark.parametrize(("absent", "options"), [("distributed", ["--scheduler", "tcp://a:1"]), ("cryptography", [])])
def test_a_comparison_whose_packages_are_missing_is_not_begun(absent, options, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("HLFDTrainingLib.compare.engine.find_spec", lambda name: None if name == absent else name)
    cases = write_cases(tmp_path / "cases", 3, slices=1)
    command = ["compare", str(cases), "-o", str(tmp_path / "compared"), "--methods", "none", "--task", "liver-tumor"]
    assert main([*command, *options]) == 1
    said = capsys.readouterr().err
    assert f"-m pip install {absent}" in said and sys.executable in said
    assert not (tmp_path / "compared").exists()


@pytest.fixture
def stopped_at_once(monkeypatch):
    """A training that begins is stopped before its first stage."""

    def stop(_run):
        raise Stopped

    monkeypatch.setattr("HLFDTrainingLib.trainer.TrainingRun.run", stop)


def test_a_training_is_begun_as_its_options_say(tmp_path, stopped_at_once):
    chosen = {
        "--teacher": "raunet",
        "--student": "resnet18-unet",
        "--method": "kd",
        "--batch": 3,
        "--learning-rate": 0.004,
        "--precision": "bfloat16",
        "--seed": 11,
        "--device": "cpu",
    }
    options = [str(part) for pair in chosen.items() for part in pair]
    command = ["train", str(write_cases(tmp_path / "cases", 3)), "-o", str(tmp_path / "run"), "--task", "liver-tumor"]
    assert main([*command, *options, "--epochs", "7", "--undistilled"]) == STOPPED_STATUS
    plan = RunFolder(tmp_path / "run").plan()
    for option, value in chosen.items():
        assert getattr(plan, option.removeprefix("--").replace("-", "_")) == value
    assert (plan.teacher_epochs, plan.student_epochs, plan.undistilled) == (7, 7, True)


def test_a_training_takes_the_split_that_is_given(tmp_path, capsys, stopped_at_once):
    """As to bring a patient with a tumor into validation; and one that leaves out a case is refused."""
    cases = write_cases(tmp_path / "cases", 3)
    command = ["train", str(cases), "--task", "liver-tumor", "--device", "cpu", "--epochs", "1", "-o"]
    assert main([*command, str(tmp_path / "first")]) == STOPPED_STATUS
    given = json.loads((tmp_path / "first" / "split.json").read_text())
    given["validation"], given["test"] = given["test"], given["validation"]
    (tmp_path / "mine.json").write_text(json.dumps(given))
    assert main([*command, str(tmp_path / "second"), "--split", str(tmp_path / "mine.json")]) == STOPPED_STATUS
    assert json.loads((tmp_path / "second" / "split.json").read_text()) == given
    (tmp_path / "mine.json").write_text(json.dumps({**given, "test": []}))
    assert main([*command, str(tmp_path / "third"), "--split", str(tmp_path / "mine.json")]) == 1
    assert f"The split {tmp_path / 'mine.json'} and the cases differ in 1 cases" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def test_a_training_takes_the_task_of_a_model(tmp_path, monkeypatch, untrained_package, stopped_at_once):
    """Its slices are those that its network knows as a teacher, whatever a built-in task of the same name has."""
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    shutil.copytree(untrained_package, tmp_path / "models" / "untrained")
    command = ["train", str(write_cases(tmp_path / "cases", 3)), "-o", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*command, "--epochs", "1", "--task", "untrained"]) == STOPPED_STATUS
    assert RunFolder(tmp_path / "run").plan().task == read_package(untrained_package).task


def test_a_run_goes_on_where_its_device_is_missing(tmp_path, capsys, stopped_at_once):
    run = begin_run(tmp_path / "run", replace(PLAN, device="cuda:98"), cases=2)
    command = ["train", "-o", str(run.path), "--resume"]
    for refused in ([], ["--device", "cuda:99"]):
        assert main([*command, *refused]) == 1
        assert "This computer has no device 'cuda:9" in capsys.readouterr().err
        assert run.plan().device == "cuda:98"
    with training_in(run.path):
        assert main([*command, "--device", "cpu"]) == 1
    assert "training is going on already" in capsys.readouterr().err
    assert run.plan().device == "cuda:98"
    assert main([*command, "--device", "cpu"]) == STOPPED_STATUS
    assert run.plan() == PLAN
    assert main(command) == STOPPED_STATUS


def test_two_trainings_that_begin_at_one_moment_in_one_folder_are_not_mixed(
    tmp_path, monkeypatch, capsys, stopped_at_once
):
    def with_another_start(cases, path):
        if not others:
            others.append(None)
            others.append(main([*command, "--seed", "2"]))
        write_cases_json(cases, path)

    others = []
    monkeypatch.setattr("HLFDTrainingLib.runs.run_start.write_cases_json", with_another_start)
    command = ["train", str(write_cases(tmp_path / "cases", 3)), "-o", str(tmp_path / "run"), "--task", "liver-tumor"]
    assert main([*command, "--seed", "1"]) == STOPPED_STATUS
    assert others[1] == 1 and "training is going on already" in capsys.readouterr().err
    run = RunFolder(tmp_path / "run")
    assert run.plan().seed == run.read("split.json")["seed"] == 1


@pytest.mark.parametrize("command", [["train"], ["compare", "--methods", "none"]])
def test_a_folder_that_holds_other_things_is_not_trained_in(command, tmp_path, capsys):
    """As the folder of the cases itself, whose cases.json would be written anew."""
    cases = write_cases(tmp_path / "cases", 4)
    mine = cases / "table.csv"
    mine.write_text("mine")
    before = sorted(cases.rglob("*"))
    status = main([*command, str(cases), "-o", str(cases), "--task", "liver-tumor"])
    assert status == 1 and "Choose a new folder" in capsys.readouterr().err
    assert sorted(cases.rglob("*")) == before
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("command", [["train"], ["compare", "--methods", "none"]])
def test_pairs_of_ones_own_are_not_trained_with_by_a_task_that_nobody_named(command, tmp_path, capsys):
    run = tmp_path / "run"
    status = main([*command, str(write_cases(tmp_path / "cases", 3)), "-o", str(run)])
    assert_refused(status, capsys, run, "no task was named")


def test_a_run_below_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    run = tmp_path / "file" / "run"
    status = main(["train", str(write_cases(tmp_path / "cases", 3)), "-o", str(run), "--task", "liver-tumor"])
    assert_refused(status, capsys, run, "is a file")


@pytest.fixture
def mr_like(tmp_path):
    values = np.random.default_rng(0).gamma(2.0, 200.0, (6, 48, 48)).astype(np.int16)
    path = tmp_path / "mr.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    return path


def test_image_that_is_not_in_hu_is_refused(mr_like, tmp_path, untrained_package, capsys):
    output = tmp_path / "result"
    assert_refused(segment(mr_like, output, untrained_package), capsys, output, "--force")


def test_forced_image_is_marked_in_the_report(mr_like, tmp_path, untrained_package, capsys):
    output = tmp_path / "result"
    assert segment(mr_like, output, untrained_package, "--force") == 0
    assert "Caution: This image does not look like CT in HU" in capsys.readouterr().out
    assert "does not look like CT in HU" in (output / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("shape", [(1, 64, 64), (400, 8, 8), (3, 2, 4)])
def test_single_slice_many_slices_and_few_voxels(shape, tmp_path, untrained_package):
    values = np.random.default_rng(0).choice([-90, 20, 60, 110], shape).astype(np.int16)
    path = tmp_path / "ct.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    assert segment(path, tmp_path / "result", untrained_package) == 0
    labels = sitk.ReadImage(str(tmp_path / "result" / "segmentation.nii.gz"))
    assert labels.GetSize() == shape[::-1]


@pytest.mark.parametrize("limit", [100, 4000])
def test_full_disk_while_writing_leaves_nothing(limit, ct_file, tmp_path, untrained_package):
    """A limit on the size of files stands for the full disk: writing fails at the same places."""
    output = tmp_path / "result"
    command = [sys.executable, "-m", "HLFDTrainingLib.cli", "segment", ct_file, "-o", output]
    process = subprocess.run(
        [*command, "--model", untrained_package, "--device", "cpu", "--attention"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert process.returncode == 1
    assert "could not be written" in process.stderr and "Traceback" not in process.stderr
    assert not output.exists()
    assert not list(tmp_path.glob(".*"))


def test_unknown_device_names_those_there_are(ct_file, tmp_path, untrained_package, capsys):
    status = main(
        ["segment", str(ct_file), "-o", str(tmp_path / "r"), "--model", str(untrained_package), "--device", "tpu"]
    )
    assert_refused(status, capsys, tmp_path / "r", "tpu", "cpu")


def test_unknown_model_names_those_there_are(ct_file, tmp_path, capsys):
    assert_refused(segment(ct_file, tmp_path / "r", "nonexistent"), capsys, tmp_path / "r", "nonexistent")


def test_models_are_imported_listed_verified_and_removed(untrained_package, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    assert main(["models", "import", str(untrained_package)]) == 0
    assert main(["models", "list"]) == 0
    assert "untrained" in capsys.readouterr().out
    assert main(["models", "verify", "untrained"]) == 0
    assert main(["models", "remove", "untrained"]) == 0
    capsys.readouterr()
    assert main(["models", "verify", "untrained"]) == 1
    assert "untrained" in capsys.readouterr().err


def test_of_an_installed_model_and_a_folder_of_one_name_it_is_told_which_was_verified(
    untrained_package, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    for folder in (tmp_path / "models" / "untrained", tmp_path / "untrained"):
        shutil.copytree(untrained_package, folder)
    monkeypatch.chdir(tmp_path)
    for name, verified in (("untrained", tmp_path / "models" / "untrained"), ("./untrained", tmp_path / "untrained")):
        assert main(["models", "verify", name]) == 0
        assert f"in {verified} is complete" in capsys.readouterr().out


def test_help_does_not_wait_for_torch():
    code = "import sys; from HLFDTrainingLib.cli import _parser; _parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "nope"), "no model 'nope'"),
        (("--device", "cuda:99"), "no device"),
        (("--tumor-threshold", "2"), "0 and 1"),
    ],
)
def test_demo_generates_nothing_that_cannot_be_segmented(options, words, tmp_path, capsys):
    assert_refused(main(["demo", "-o", str(tmp_path / "demo"), *options]), capsys, tmp_path / "demo", words)


def test_demo_of_a_ct_of_ones_own(ct_file, tmp_path, untrained_package):
    options = ["--model", str(untrained_package), "--device", "cpu"]
    assert main(["demo", str(ct_file), "-o", str(tmp_path / "demo"), *options]) == 0
    written = {path.name for path in (tmp_path / "demo" / "result").iterdir()}
    assert {"segmentation.nii.gz", "segments.csv", "report.html", "attention"} <= written
    assert not (tmp_path / "demo" / "generated_ct").exists()
    assert "computed for the demo" not in (tmp_path / "demo" / "result" / "report.html").read_text(encoding="utf-8")


def test_the_demo_tells_how_much_of_the_truth_was_found(tmp_path, untrained_package, monkeypatch, capsys):
    """Two volumes that are alike say nothing where they lie apart. Here all of one half is taken for liver."""

    def phantom(folder, _seed):
        folder.mkdir(parents=True)
        for image, path in zip(blob_case(0), paths, strict=True):
            sitk.WriteImage(image, str(path))
        return paths

    def half(self, ct, **_options):
        labels = sitk.Image(ct.GetSize(), sitk.sitkUInt8)
        labels.CopyInformation(ct)
        labels[: ct.GetSize()[0] // 2, :, :] = 1
        return inference.Segmentation(
            labels, self.task, sitk.GetArrayFromImage(labels), cautions=[], notes=[], attention=[], device="cpu"
        )

    paths = tmp_path / "demo" / "generated_ct" / "ct.nii.gz", tmp_path / "demo" / "generated_ct" / "label.nii.gz"
    monkeypatch.setattr("HLFDSegmentationLib.phantom.write_phantom", phantom)
    monkeypatch.setattr("HLFDSegmentationLib.pipeline.Segmenter.segment", half)
    assert main(["demo", "-o", str(tmp_path / "demo"), "--model", str(untrained_package), "--device", "cpu"]) == 0
    truth = blob_case(0)[1]
    liver, voxel_ml = sitk.GetArrayViewFromImage(truth) == 1, np.prod(truth.GetSpacing()) / 1000
    found = liver[..., : liver.shape[2] // 2]
    assert 0 < found.sum() < liver.sum()
    true = f"{liver.sum() * voxel_ml:.1f} mL ({found.sum() * voxel_ml:.1f} mL of it found)"
    said, report = capsys.readouterr().out, (tmp_path / "demo" / "result" / "report.html").read_text("utf-8")
    assert any(line.startswith("liver  ") and line.endswith(f"; in truth {true}") for line in said.splitlines())
    assert f"In truth it holds: liver {true}; kidney " in report


def test_two_demos_at_once_segment_each_its_own_ct(tmp_path, untrained_package, monkeypatch):
    """The second begins while the first generates its CT."""

    def with_another_demo(folder, seed):
        if seed == 1:
            assert main([*command, "--seed", "2"]) == 0
        folder.mkdir(parents=True)
        paths = folder / "ct.nii.gz", folder / "label.nii.gz"
        for image, path in zip(blob_case(seed), paths, strict=True):
            sitk.WriteImage(image, str(path))
        return paths

    def segmented(options, ct, output, **_others):
        values, expected = map(sitk.GetArrayFromImage, (sitk.ReadImage(str(ct)), blob_case(options.seed)[0]))
        own.append((output, np.array_equal(values, expected)))
        return 0

    own = []
    monkeypatch.setattr("HLFDSegmentationLib.phantom.write_phantom", with_another_demo)
    monkeypatch.setattr(segmenting, "_segment_and_tell", segmented)
    command = ["demo", "-o", str(tmp_path / "demo"), "--model", str(untrained_package), "--device", "cpu"]
    assert main([*command, "--seed", "1"]) == 0
    assert own == [(tmp_path / "demo-2" / "result", True), (tmp_path / "demo" / "result", True)]


def test_a_demo_that_fails_leaves_no_empty_folder(tmp_path, untrained_package, capsys):
    command = ["demo", str(tmp_path / "absent.nii.gz"), "-o", str(tmp_path / "demo"), "--model", str(untrained_package)]
    assert_refused(main(command), capsys, tmp_path / "demo", "absent.nii.gz")


def test_demo_refuses_a_seed_that_is_none(capsys):
    with pytest.raises(SystemExit):
        main(["demo", "--seed", "-1"])
    assert "no whole number from 0 on" in capsys.readouterr().err


def test_demo_of_a_ct_of_ones_own_has_no_seed(ct_file, capsys):
    assert main(["demo", str(ct_file), "--seed", "1"]) == 1
    assert "Leave out one of the two" in capsys.readouterr().err


def test_demo_generates_nothing_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["demo", "-o", str(tmp_path / "file" / "demo")]) == 1
    told = capsys.readouterr().err
    assert "is a file" in told and "Generating" not in told


@pytest.mark.parametrize(
    ("command", "where"),
    [
        (["segment", "", "-o", "D"], "follows segment"),
        (["segment", "C", "-o", ""], "follows -o"),
        (["segment", "C", "-o", "D", "--model", ""], "follows --model"),
        (["segment", "C", "--output="], "follows --output="),
        ([""], "the first one"),
    ],
)
def test_an_empty_part_of_a_command_is_not_the_current_folder(command, where, capsys):
    assert main(command) == 1
    assert where in capsys.readouterr().err


def test_demo_refuses_the_root_of_a_disk(capsys):
    assert main(["demo", "-o", Path("/").absolute().anchor]) == 1
    assert "Give the name of a new folder" in capsys.readouterr().err


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("ITK ERROR: Failed to allocate memory for image.")])
def test_a_report_that_cannot_be_made_takes_nothing_else_away(
    error, ct_file, tmp_path, untrained_package, monkeypatch, capsys
):
    """The segmentation has taken minutes. A script is told by the exit status that the folder is not complete."""

    def no_memory(*_arguments, **_options):
        raise error

    monkeypatch.setattr("HLFDSegmentationLib.pipeline.write_report", no_memory)
    output, explained = tmp_path / "result", tmp_path / "explained"
    options = ["--model", str(untrained_package), "--device", "cpu"]
    assert main(["segment", str(ct_file), "-o", str(output), *options]) == 1
    assert {path.name for path in output.iterdir()} == {"segmentation.nii.gz", "segmentation.seg.nrrd", "segments.csv"}
    told = capsys.readouterr().out
    assert "There is no report: the memory did not suffice." in told and "report.html" not in told

    drawn = sitk.ReadImage(str(output / "segmentation.nii.gz"))
    drawn[3:9, 3:9, :] = 1
    sitk.WriteImage(drawn, str(tmp_path / "drawn.nii.gz"))
    command = ["explain", str(ct_file), str(tmp_path / "drawn.nii.gz"), "-o", str(explained), *options]
    assert main(command) == 1
    assert {"segments.csv", "attention.csv", "attention"} == {path.name for path in explained.iterdir()}
    assert "There is no report: the memory did not suffice." in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
def test_a_command_that_is_told_to_end_leaves_nothing_of_the_patient(
    number, there, ct_file, tmp_path, untrained_package, monkeypatch
):
    """As by a scheduler, a logout or a closed terminal."""

    def ended(*_arguments, **_options):
        signal.raise_signal(number)

    monkeypatch.setattr("HLFDSegmentationLib.pipeline.write_report", ended)
    output = tmp_path / "result"
    if there:
        output.mkdir()
    before = sorted(tmp_path.rglob("*"))
    inherited = signal.signal(number, signal.SIG_DFL)  # The tests may have been told to outlive their terminal.
    try:
        assert segment(ct_file, output, untrained_package) == STOPPED_STATUS
    finally:
        signal.signal(number, inherited)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_command_that_was_told_to_outlive_its_terminal_does():
    """As by nohup, which tells it to ignore the signal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_as_interrupted():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_longest_name_that_a_folder_may_have_is_taken(ct_file, tmp_path, untrained_package):
    output = tmp_path / ("x" * 250)
    assert segment(ct_file, output, untrained_package) == 0
    assert (output / "report.html").is_file()


def test_demo_takes_the_current_folder_for_one_that_is_there(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert segmenting._unused(Path(".").absolute()) == tmp_path / "here-2"


def test_a_command_whose_streams_are_closed_does_its_work(ct_file, tmp_path, untrained_package):
    """As a service's are."""
    command = [sys.executable, "-m", "HLFDTrainingLib.cli", "segment", ct_file, "-o", tmp_path / "result"]
    quoted = shlex.join(map(str, [*command, "--model", untrained_package, "--device", "cpu"]))
    assert subprocess.run(["sh", "-c", f"{quoted} >&- 2>&-"], check=False).returncode == 0
    assert (tmp_path / "result" / "report.html").is_file()


def test_a_name_that_the_output_cannot_show_is_no_failure(ct_file, tmp_path, untrained_package):
    command = ["segment", ct_file, "-o", tmp_path / "结果", "--model", untrained_package, "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "HLFDTrainingLib.cli", *map(str, command)],
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "\\u7ed3\\u679c" in done.stdout


def test_a_reader_of_the_output_that_goes_away_is_no_fault_of_a_file(tmp_path):
    """As head does, which needs the first line alone."""
    command = [sys.executable, "-m", "HLFDTrainingLib.cli", "models", "list"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, env={**os.environ, "HLFD_MODELS": str(tmp_path)}) as process:
        process.stdout.close()
        told = process.stderr.read().decode().splitlines()
    assert told == ["hlfd: the command ended early, because the program that read its output did."]
    assert process.returncode == 1


@pytest.fixture
def with_broken_torch(tmp_path):
    """Runs a module under a PyTorch that raises what it raises on a Windows without the Visual C++ runtime."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise OSError('[WinError 126] Not found. Error loading c10.dll')\n")
    folders = os.pathsep.join([str(broken), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": folders, "HLFD_MODELS": str(tmp_path / "models")}

    def run(*command: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *map(str, command)]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


@pytest.mark.parametrize(
    "command",
    [["train", "CASES", "-o", "RUN"], ["evaluate", "RUN", "--all"], ["models", "import"], ["models", "verify"]],
    ids=" ".join,
)
def test_a_pytorch_that_does_not_load_is_no_fault_of_a_file(command, with_broken_torch, untrained_package):
    package = [untrained_package] if command[0] == "models" else []
    done = with_broken_torch("HLFDTrainingLib.cli", *command, *package)
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("hlfd: PyTorch is installed, but cannot be loaded ([WinError 126] Not found.")
    assert "c10.dll" in sentence and "Visual C++" in sentence


def test_a_pytorch_that_does_not_load_is_no_fault_of_the_models_folder(with_broken_torch, untrained_package):
    done = with_broken_torch("HLFDSegmentationLib.model_files.model_import", untrained_package)
    assert done.returncode == REFUSED
    assert done.stdout.startswith("PyTorch is installed, but cannot be loaded")


def test_models_are_listed_without_pytorch(with_broken_torch):
    assert with_broken_torch("HLFDTrainingLib.cli", "models", "list").returncode == 0


@pytest.mark.parametrize("own", [None, "7"])
def test_threads_of_the_command_leave_the_processor_to_others(own, tmp_path):
    """Before torch is imported, or it would do nothing; what the user has chosen stays."""
    code = "import os, sys; from HLFDTrainingLib.cli import main; main(['models', 'list']); " + (
        "assert 'torch' not in sys.modules; print(os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment |= {"GOMP_SPINCOUNT": own} if own else {}
    environment["HLFD_MODELS"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split()[-1] == (own or "3000"), done.stderr


def test_a_disk_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda self: False)
    with pytest.raises(OutputError, match="Connect the disk"):
        output_folder.check_makeable(Path("/gone/results"))


def test_a_disk_that_is_nearly_full_is_told_before_the_work(ct_file, tmp_path, untrained_package, monkeypatch, capsys):
    output, disk = tmp_path / "result", SimpleNamespace(total=10**12, free=15_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: disk)
    monkeypatch.setattr(inference.Segmenter, "segment", lambda *_, **__: pytest.fail("Minutes of work are lost."))
    assert_refused(segment(ct_file, output, untrained_package), capsys, output, "less than 20 MB", "Free some space")
    disk.total = disk.free = 0  # as network shares say that do not know
    output_folder.check_makeable(output, output_folder.LITTLE_SPACE)
    assert list(tmp_path.glob(".*")) == []


def test_a_used_up_quota_is_not_called_a_full_disk(tmp_path, monkeypatch):
    def refuse(parent):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(output_folder, "make_aside", refuse)
    with pytest.raises(OutputError, match="its disk, or what you may take of it, is full"):
        output_folder.check_makeable(tmp_path / "result", output_folder.LITTLE_SPACE)


def test_finished_results_outlive_a_folder_that_cannot_be_named(tmp_path, monkeypatch):
    def locked(part, path):
        raise PermissionError(13, "used by another program")

    monkeypatch.setattr(output_folder, "replace_waiting", locked)
    with (
        pytest.raises(OutputError, match="complete and lie in") as refused,
        output_folder.new_folder(tmp_path / "new") as part,
    ):
        (part / "work.txt").write_text("minutes")
    (kept,) = tmp_path.iterdir()
    assert str(kept) in str(refused.value)
    assert (kept / "work.txt").read_text() == "minutes"


@pytest.mark.slow
def test_demo_segments_a_generated_ct(tmp_path, default_package, capsys):
    """The README's first command. The liver of the generated CT is known: it must be found."""
    output = tmp_path / "demo"
    assert main(["demo", "-o", str(output), "--device", "cpu"]) == 0
    found, truth = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        for path in (output / "result" / "segmentation.nii.gz", output / "generated_ct" / "label.nii.gz")
    )
    liver, true_liver = np.isin(found, (1, 3)), np.isin(truth, (1, 3))
    assert 2 * (liver & true_liver).sum() / (liver.sum() + true_liver.sum()) > 0.7
    said, report = capsys.readouterr().out, (output / "result" / "report.html").read_text(encoding="utf-8")
    voxel_ml = 1.5 * 1.5 * 3.0 / 1000
    for name, value, lesions in (
        ("liver", 1, ""),
        ("liver tumor", 3, ", lesions: 3"),
        ("kidney tumor", 4, ", lesions: 1"),
    ):
        both = ((truth == value) & (found == value)).sum() * voxel_ml
        true = f"{(truth == value).sum() * voxel_ml:.1f} mL ({both:.1f} mL of it found){lesions}"
        (line,) = [one for one in said.splitlines() if one.startswith(f"{name:<14} ")]
        assert line.endswith(f"; in truth {true}")
        assert f"{name} {true}" in report
    assert "computed for the demo" in said and "computed for the demo" in report
    assert main(["demo", "-o", str(output), "--device", "cpu"]) == 0
    assert (tmp_path / "demo-2" / "result" / "report.html").is_file()
