"""What cannot be used as a CT is refused with a sentence, and what can be used is read."""

import gzip
import os
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib.ct_files import read_ct, read_ct_and_doubts
from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.image_files.label_files import read_label
from HLFDSegmentationLib.image_files.nifti_files import check_nifti
from HLFDSegmentationLib.tasks import TASKS
from HLFDSegmentationLib.volumes import AxialSlices

SERIES = "1.2.826.0.1.3680043.2.1125.7"


def refusal(path: Path, capfd) -> str:
    """The sentence with which a path is refused; nothing else may be printed."""
    capfd.readouterr()
    with pytest.raises(InputError) as error:
        read_ct(path)
    assert capfd.readouterr() == ("", "")
    text = str(error.value)
    assert str(path) in text
    assert text.count(". ") >= 1 and text.endswith(".")  # What happened, and what to do.
    return text


def volume(shape=(5, 12, 16), dtype=np.int16) -> sitk.Image:
    ct = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 90, shape).astype(dtype))
    ct.SetSpacing((0.7, 0.8, 2.5)[: ct.GetDimension()])
    return ct


def written(ct: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(ct, str(path))
    return path


def write_series(
    folder: Path, positions, *, uid=SERIES, description="Abdomen 2.5", first=0, size=(16, 12), modality="CT", each=()
):
    """DICOM slices at these positions (x, y, z in mm); the stored values are HU + 1024.

    Each slice may have tags of its own beside the usual ones, or in place of them.
    """
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, position in enumerate(positions, start=first):
        image = sitk.GetImageFromArray(np.full((1, *size[::-1]), number * 10, np.int16))
        image.SetSpacing((0.7, 0.8, 2.5))
        tags = {
            "0008|0018": f"{uid}.{number + 1}",
            "0008|0060": modality,
            "0008|103e": description,
            "0010|0010": "Secret^Name",
            "0020|000d": SERIES,
            "0020|000e": uid,
            "0020|0013": str(number + 1),
            "0020|0032": "\\".join(f"{mm:g}" for mm in position),
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|1052": "-1024",
            "0028|1053": "1",
        } | (each[number - first] if each else {})
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"slice{number:03d}.dcm"))
        writer.Execute(image)
    return folder


def with_distance(file: Path, mm: bytes) -> None:
    """Writes the distance to the next slice (Spacing Between Slices) into a DICOM file; the writer does so, or not."""
    tag, following, content = b"\x18\x00\x88\x00", b"\x20\x00\x0d\x00", file.read_bytes()
    place = content.index(following)
    before = content[: content.find(tag) if tag in content[:place] else place]
    file.write_bytes(before + tag + struct.pack("<I", len(mm)) + mm + content[place:])


def with_entry(file: Path, key: str, value: str) -> None:
    """Writes another value into a DICOM file, where the writer of ITK would make a right one of it."""
    group, element = (int(part, 16) for part in key.split("|"))
    content, tag = file.read_bytes(), struct.pack("<HH", group, element)
    start = content.index(tag) + len(tag)
    end = start + 4 + struct.unpack_from("<I", content, start)[0]
    told = value.encode() + b" " * (len(value) % 2)
    file.write_bytes(content[:start] + struct.pack("<I", len(told)) + told + content[end:])


def stack(*heights: float) -> list[tuple[float, float, float]]:
    return [(-120.0, -80.0, height) for height in heights]


# What can be read


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_file_formats(tmp_path, suffix, capfd):
    ct = volume()
    ct.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    ct.SetOrigin((1.5, -2.5, 300))
    again = read_ct(written(ct, tmp_path / f"ct{suffix}"))
    assert np.array_equal(sitk.GetArrayViewFromImage(again), sitk.GetArrayViewFromImage(ct))
    assert np.allclose(again.GetSpacing(), ct.GetSpacing())
    assert again.GetOrigin() == ct.GetOrigin() and again.GetDirection() == ct.GetDirection()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shape", [(1, 12, 16), (2, 4, 3), (1, 1, 1), (2000, 3, 4)])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_any_number_of_slices_and_voxels(tmp_path, shape, dtype):
    ct = read_ct(written(volume(shape, dtype), tmp_path / "ct.nii.gz"))
    slices = AxialSlices(ct, TASKS["abdomen"])
    assert slices.count == shape[0]
    assert slices.images(shape[0] - 1, shape[0]).shape == (1, 1, 32, 32)


def test_big_endian_and_fourth_axis_of_one(tmp_path):
    plain = written(volume(), tmp_path / "ct.nii").read_bytes()
    fields = {0: "i", 40: "8h", 70: "hhh", 76: "8f", 108: "fff", 252: "hh", 256: "6f", 280: "12f"}
    header = bytearray(plain[:352])
    for offset, layout in fields.items():
        struct.pack_into(f">{layout}", header, offset, *struct.unpack_from(f"<{layout}", plain, offset))
    swapped = tmp_path / "swapped.nii"
    swapped.write_bytes(bytes(header) + np.frombuffer(plain[352:], "<i2").astype(">i2").tobytes())
    one_phase = tmp_path / "one_phase.nii"
    sitk.WriteImage(sitk.JoinSeries([volume()]), str(one_phase))
    for path in (swapped, one_phase):
        assert sitk.Hash(read_ct(path)) == sitk.Hash(volume())


def test_dicom_series(tmp_path, capfd):
    folder = write_series(tmp_path / "series", stack(7.5, 5, 2.5, 0))
    (folder / "notes.txt").write_text("not DICOM")
    ct = read_ct(folder)
    assert capfd.readouterr() == ("", "")
    assert ct.GetSize() == (16, 12, 4)
    assert ct.GetSpacing() == pytest.approx((0.7, 0.8, 2.5))
    assert ct.GetOrigin() == pytest.approx((-120, -80, 0))
    assert sitk.GetArrayFromImage(ct)[:, 0, 0].tolist() == [30, 20, 10, 0]
    assert ct.GetMetaDataKeys() == ("0008|0060",) and ct.GetMetaData("0008|0060") == "CT"


def test_stored_dicom_values_are_rescaled_to_hu(tmp_path):
    """The writer stores HU + 1024, so reading gives HU only where the intercept is applied."""
    file = write_series(tmp_path / "series", stack(0), each=[{"0018|0050": "2.5"}]) / "slice000.dcm"
    assert b"-1024" in file.read_bytes()
    assert sitk.GetArrayFromImage(read_ct(file)).max() == 0
    assert read_ct(file).GetMetaDataKeys() in ((), ("0008|0060",))


# Files that cannot be read


def test_absent_file(tmp_path, capfd):
    assert "There is no file or folder" in refusal(tmp_path / "absent.nii.gz", capfd)


@pytest.mark.parametrize("name", ["notes.txt", "notes.nii", "notes.nii.gz", "notes.nrrd", "notes.mha", "notes"])
def test_text_file(tmp_path, capfd, name):
    path = tmp_path / name
    path.write_text("Patient is well.")
    assert "not an image file" in refusal(path, capfd)


def test_empty_file(tmp_path, capfd):
    path = tmp_path / "ct.nii.gz"
    path.touch()
    assert "not an image file" in refusal(path, capfd)


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_photograph(tmp_path, capfd, name):
    path = written(sitk.Image([20, 20], sitk.sitkVectorUInt8, 3), tmp_path / name)
    assert "is a picture, not a CT" in refusal(path, capfd)


def test_two_dimensional_image(tmp_path, capfd):
    assert "2-D image" in refusal(written(volume((12, 16)), tmp_path / "flat.nrrd"), capfd)


def test_series_of_volumes(tmp_path, capfd):
    path = written(sitk.JoinSeries([volume()] * 3), tmp_path / "phases.nii.gz")
    assert "series of 3 volumes" in refusal(path, capfd)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_color(tmp_path, capfd, suffix):
    color = sitk.Compose([sitk.Cast(volume(), sitk.sitkUInt8)] * 3)
    assert "3 values a voxel" in refusal(written(color, tmp_path / f"color{suffix}"), capfd)


def test_no_voxels(tmp_path, capfd):
    path = written(volume(), tmp_path / "ct.mha")
    path.write_bytes(path.read_bytes().replace(b"DimSize = 16", b"DimSize = 0"))
    assert "no voxels: its size is 0 x 12 x 5" in refusal(path, capfd)
    path = written(volume(), tmp_path / "ct.nrrd")
    path.write_bytes(path.read_bytes().replace(b"sizes: 16", b"sizes: 0"))
    assert "cannot be read" in refusal(path, capfd)


def test_only_air(tmp_path, capfd):
    path = written(sitk.Image((5, 5, 5), sitk.sitkInt16) - 1000, tmp_path / "air.nii.gz")
    assert "nothing but air: its highest value is -1000 HU" in refusal(path, capfd)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_voxels_that_are_no_numbers(tmp_path, capfd, bad, suffix, kind):
    """ITK reads them as 0 HU, which is water, from NIfTI."""
    voxels = np.zeros((3, 4, 5), kind)
    voxels[1, 2, 0] = voxels[2, 3, 4] = bad
    path = written(sitk.GetImageFromArray(voxels), tmp_path / f"a{suffix}")
    assert "2 voxels that are no number" in refusal(path, capfd)
    voxels[1, 2, 0] = 0
    assert "1 voxel that is no number" in refusal(written(sitk.GetImageFromArray(voxels), path), capfd)


def test_nifti_that_does_not_say_how_the_patient_lies(tmp_path, capfd):
    """ITK turns it round in its plane without a word."""
    content = bytearray(written(volume(), tmp_path / "good.nii").read_bytes())
    struct.pack_into("<2h", content, 252, 0, 0)
    path = tmp_path / "ct.nii"
    path.write_bytes(content)
    assert "how the patient lies" in refusal(path, capfd)


def test_a_nifti_whose_axes_are_left_handed_is_read_as_it_lies(tmp_path):
    ct = sitk.DICOMOrient(volume(), "LPI")
    path = written(ct, tmp_path / "ct.nii")
    assert struct.unpack_from("<f", path.read_bytes(), 76)[0] == -1
    assert np.allclose(read_ct(path).GetDirection(), ct.GetDirection())


@pytest.mark.parametrize(("place", "kind", "value"), [(108, "<f", np.nan), (108, "<f", np.inf), (42, "<h", -16)])
def test_damaged_nifti_header(tmp_path, capfd, place, kind, value):
    content = bytearray(written(volume(), tmp_path / "good.nii").read_bytes())
    struct.pack_into(kind, content, place, value)
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(InputError):
        check_nifti(path)


def test_nifti_pair(tmp_path):
    written(volume(), tmp_path / "ct.hdr")
    assert read_ct(tmp_path / "ct.hdr").GetSize() == read_ct(tmp_path / "ct.img").GetSize() == (16, 12, 5)


def test_name_that_is_no_utf8_does_not_end_the_program(tmp_path, capfd):
    """ITK would, and Slicer's worker with it."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/ct\xff.nii.gz"))
    with pytest.raises(InputError, match="no UTF-8"):
        read_ct(path)


def test_slices_whose_names_are_no_utf8_do_not_end_the_program(tmp_path, capfd):
    """As of a German CD that was unpacked on Linux."""
    write_series(tmp_path / "series", [(0, 0, z) for z in range(3)])
    for number, file in enumerate(sorted((tmp_path / "series").iterdir())):
        file.rename(os.fsdecode(os.fsencode(file.parent) + b"/M\xfcller" + str(number).encode()))
    with pytest.raises(InputError, match="no UTF-8"):
        read_ct(tmp_path / "series")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("spacing", [0.0, -0.7, np.nan, np.inf, 7e-4])
def test_impossible_spacing_in_nifti(tmp_path, capfd, suffix, spacing):
    content = bytearray(written(volume(), tmp_path / "good.nii").read_bytes())
    struct.pack_into("<f", content, 80, spacing)
    path = tmp_path / f"ct{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    assert "which no CT has" in refusal(path, capfd)


@pytest.mark.parametrize("spacing", ["0", "nan", "-0.7"])
def test_impossible_spacing_in_metaimage(tmp_path, capfd, spacing):
    path = written(volume(), tmp_path / "ct.mha")
    path.write_bytes(re.sub(rb"ElementSpacing = \S+", f"ElementSpacing = {spacing}".encode(), path.read_bytes()))
    assert "which no CT has" in refusal(path, capfd)


def test_impossible_spacing_in_nrrd(tmp_path, capfd):
    path = written(volume(), tmp_path / "ct.nrrd")
    path.write_bytes(re.sub(rb"space directions: \(\S+?,0,0\)", b"space directions: (0,0,0)", path.read_bytes()))
    assert "which no CT has" in refusal(path, capfd)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("share", [0.4, 0.99])
def test_truncated_file(tmp_path, capfd, suffix, share):
    path = written(volume((20, 30, 30)), tmp_path / f"ct{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "damaged, incomplete" in refusal(path, capfd)


def test_damaged_compressed_file(tmp_path, capfd):
    path = written(volume((20, 60, 60)), tmp_path / "ct.nii.gz")
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 0xFF
    path.write_bytes(content)
    assert "damaged" in refusal(path, capfd)


@pytest.mark.parametrize(("suffix", "entry"), [(".nrrd", "Gerät:=Siemens\n"), (".mha", "Gerät = Siemens\n")])
def test_entries_of_a_header_that_are_no_utf8_vanish_as_all_others(tmp_path, suffix, entry):
    path = written(volume(), tmp_path / f"ct{suffix}")
    before, behind = (b"NRRD0004\n", b"") if suffix == ".nrrd" else (b"", b"ObjectType = Image\n")
    content = path.read_bytes()
    start = len(before + behind) if content.startswith(before + behind) else content.index(b"\n") + 1
    path.write_bytes(content[:start] + entry.encode("latin-1") + content[start:])
    ct = read_ct(path)
    assert not ct.GetMetaDataKeys() and ct.GetSize() == (16, 12, 5)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("hole", [1, 4096], ids=["byte", "hole"])
def test_damage_that_only_the_checksum_tells(tmp_path, capfd, suffix, hole):
    """ITK does not look at it: a bad copy would be read with wrong voxels, and lose a lesion without a word."""
    path = tmp_path / f"ct{suffix}"
    sitk.WriteImage(volume((40, 120, 120)), str(path), useCompression=True)
    read_ct(path), read_label(path)
    data = next((file for file in tmp_path.iterdir() if file != path), path)
    content = bytearray(data.read_bytes())
    middle = len(content) // 2
    content[middle : middle + hole] = bytes(hole) if hole > 1 else bytes([content[middle] ^ 1])
    data.write_bytes(content)
    assert "damaged" in refusal(path, capfd)
    with pytest.raises(InputError, match="damaged"):
        read_label(path)


def test_compressed_meta_image_with_fewer_voxels_than_it_says(tmp_path, capfd):
    """ITK takes what lies in memory for the others, another value each time."""
    path = tmp_path / "ct.mha"
    sitk.WriteImage(volume(), str(path), useCompression=True)
    content = path.read_bytes()
    assert b"DimSize = 16 12 5" in content
    path.write_bytes(content.replace(b"DimSize = 16 12 5", b"DimSize = 16 12 9"))
    assert "damaged, incomplete" in refusal(path, capfd)
    path.write_bytes(re.sub(rb"CompressedDataSize = \d+\n", b"", content))
    assert "damaged, incomplete" in refusal(path, capfd)


def test_what_lies_behind_or_beside_the_voxels_does_no_harm(tmp_path):
    packed = written(volume(), tmp_path / "ct.nii.gz")
    with packed.open("ab") as file:
        file.write(b"no compressed file")
    pair = written(volume(), tmp_path / "pair.hdr")
    (tmp_path / "pair.img.gz").write_bytes(b"left over")
    assert read_ct(packed).GetSize() == read_ct(pair).GetSize() == (16, 12, 5)


def test_nifti_pair_that_is_cut_short_or_has_voxels_that_are_no_numbers(tmp_path, capfd):
    """ITK takes 0 HU for both."""
    path = written(volume((20, 30, 30), np.float32), tmp_path / "ct.hdr")
    voxels = tmp_path / "ct.img"
    content = bytearray(voxels.read_bytes())
    content[4000:4004] = struct.pack("<f", np.nan)
    voxels.write_bytes(content)
    assert "1 voxel that is no number" in refusal(path, capfd)
    voxels.write_bytes(content[: len(content) * 6 // 10])
    assert "damaged, incomplete" in refusal(path, capfd)


def test_too_little_memory_for_a_label_is_not_taken_for_damage(tmp_path, monkeypatch):
    path = written(volume(), tmp_path / "label.nrrd")

    def no_memory(*_arguments):
        raise RuntimeError("ITK ERROR: Failed to allocate memory for image.")

    monkeypatch.setattr(sitk, "ReadImage", no_memory)
    with pytest.raises(MemoryError):
        read_label(path)


def test_missing_data_file(tmp_path, capfd):
    path = written(volume(), tmp_path / "ct.mhd")
    (tmp_path / "ct.raw").unlink()
    assert "cannot be read" in refusal(path, capfd)


# DICOM folders that cannot be read


def test_empty_folder(tmp_path, capfd):
    assert "holds no files. Give" in refusal(tmp_path, capfd)


def test_folder_of_folders_as_an_archive_exports_them(tmp_path, capfd):
    for name in ("S1", "S2"):
        (tmp_path / name).mkdir()
    assert "holds no files, only folders (S1, S2). Give the folder that directly holds" in refusal(tmp_path, capfd)


def test_folder_without_dicom(tmp_path, capfd):
    (tmp_path / "notes.txt").write_text("x" * 1000)
    assert "no DICOM images. Give the folder" in refusal(tmp_path, capfd)


def test_an_archive_is_not_called_damaged_and_is_to_be_unpacked(tmp_path, capfd):
    """As archives of images export a series."""
    with zipfile.ZipFile(tmp_path / "dicom.ZIP", "w") as archive:
        archive.writestr("slice000.dcm", b"x")
    assert "is a ZIP archive. Unpack it" in refusal(tmp_path / "dicom.ZIP", capfd)
    assert "but the ZIP archive dicom.ZIP. Unpack it, and give the folder" in refusal(tmp_path, capfd)


def test_two_series(tmp_path, capfd):
    folder = write_series(tmp_path / "both", stack(0, 2.5, 5))
    write_series(folder, stack(0, 5), uid=SERIES + ".9", description="Lung thin", first=10)
    text = refusal(folder, capfd)
    assert "2 DICOM series" in text
    assert "'Abdomen 2.5' (3 images, such as slice000.dcm)" in text
    assert "'Lung thin' (2 images, such as slice010.dcm)" in text


def test_the_description_of_a_series_keeps_its_letters(tmp_path, capfd):
    """Few archives write UTF-8."""
    folder = write_series(tmp_path / "both", stack(0, 2.5, 5), description="Leber venoes")
    write_series(folder, stack(0, 5), uid=SERIES + ".9", description="Lung thin", first=10)
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"Leber venoes", "Leber venös ".encode("latin-1")))
    assert "'Leber venös' (3 images" in refusal(folder, capfd)


@pytest.mark.parametrize("missing", [1, 4, 8])
def test_slice_gap(tmp_path, capfd, missing):
    folder = write_series(tmp_path / "gap", stack(*np.arange(10) * 2.5))
    (folder / f"slice{missing:03d}.dcm").unlink()
    text = refusal(folder, capfd)
    assert f"5.00 mm lie between slice{missing - 1:03d}.dcm and slice{missing + 1:03d}.dcm" in text
    assert "2.50 mm between most others" in text


def test_two_slice_distances(tmp_path, capfd):
    folder = write_series(tmp_path / "mixed", stack(0, 2, 4, 6, 8, 10, 15, 20, 25))
    assert "5.00 mm lie between slice005.dcm and slice006.dcm, 2.00 mm" in refusal(folder, capfd)


def test_rounded_positions_are_even(tmp_path):
    heights = np.round(np.arange(60) * 0.6667, 1)
    assert read_ct(write_series(tmp_path / "rounded", stack(*heights))).GetSize()[2] == 60


def test_two_images_at_one_position(tmp_path, capfd):
    folder = write_series(tmp_path / "twice", stack(0, 2.5, 5, 5, 7.5))
    assert "same position (slice002.dcm, slice003.dcm)" in refusal(folder, capfd)


def test_scout_view_in_the_series(tmp_path, capfd):
    folder = write_series(tmp_path / "scout", stack(0, 2.5, 5))
    write_series(folder, stack(7.5), first=3, size=(20, 30))
    assert "different size or direction" in refusal(folder, capfd)


def test_tilted_gantry(tmp_path, capfd):
    folder = write_series(tmp_path / "tilted", [(0.0, height * 0.3, height) for height in np.arange(8) * 2.5])
    assert "shifted against each other by up to 5.2 mm" in refusal(folder, capfd)


def test_truncated_slice(tmp_path, capfd):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    last = folder / "slice002.dcm"
    last.write_bytes(last.read_bytes()[:-100])
    capfd.readouterr()
    with pytest.raises(InputError, match=r"slice002\.dcm cannot be read"):
        read_ct(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", bytes(5000)], ids=["empty", "zeros"])
@pytest.mark.parametrize("name", ["slice004.dcm", "other.DCM"])
def test_a_slice_that_an_interrupted_copy_left_behind(tmp_path, capfd, content, name):
    """The CT would end early, and an organ with it, without a word."""
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5, 7.5))
    (folder / name).write_bytes(content)
    text = refusal(folder, capfd)
    assert f"{name} is {'no DICOM file, or damaged' if content else 'empty'}, and has a name like the slices" in text


def test_an_interrupted_copy_of_slices_without_endings(tmp_path, capfd):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5, 7.5))
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"IM{number}")
    (folder / "IM12").write_bytes(bytes(100))
    assert "IM12 is no DICOM file" in refusal(folder, capfd)
    (folder / "IM12").unlink()
    (folder / "A7").touch()
    assert "A7 is empty" in refusal(folder, capfd)


@pytest.mark.parametrize("left", [bytes(5000), b"\x08\x00" * 50], ids=["zeros", "start"])
def test_an_interrupted_copy_of_slices_with_hexadecimal_names(tmp_path, capfd, left):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5, 7.5))
    for file, name in zip(sorted(folder.iterdir()), ("0C9D18EF", "5553A7D2", "A1B2C3D4", "77FF0012")):
        file.rename(folder / name)
    (folder / "decade").write_bytes(b"a word of the same letters")
    assert read_ct(folder).GetSize()[2] == 4
    (folder / "E00F6A31").write_bytes(left)
    assert "E00F6A31 is no DICOM file" in refusal(folder, capfd)


def test_zeros_that_lost_their_ending_too(tmp_path, capfd):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5, 7.5))
    (folder / "download").write_bytes(bytes(5000))
    assert "download is no DICOM file" in refusal(folder, capfd)


def test_other_files_beside_the_slices_are_left_out(tmp_path):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    (folder / "._slice000.dcm").write_bytes(b"\0\5\x16\7" + bytes(4000))  # as of a Mac
    (folder / ".DS_Store").touch()
    (folder / "DICOMDIR").touch()
    (folder / "empty.txt").touch()
    for name in ("readme.txt", "Thumbs.db", "VERSION"):
        (folder / name).write_bytes(b"no image")
    assert read_ct(folder).GetSize()[2] == 3


# Headers that do not tell the geometry


@pytest.mark.parametrize(
    ("spacing", "told"),
    [
        ("0\\0", "0 x 0 mm, which no CT has"),
        ("0.8\\0", "0.8 x 0 mm, which no CT has"),
        ("0,8\\0,7", "does not say how large"),
        ("0.8", "does not say how large"),
    ],
)
def test_impossible_pixel_spacing_in_dicom(tmp_path, capfd, spacing, told):
    """ITK takes 1 mm for it."""
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    path = folder / "slice001.dcm"
    with_entry(path, "0028|0030", spacing)
    text = refusal(folder, capfd)
    assert told in text and "slice001.dcm" in text


def test_a_distance_of_0_between_slices_is_not_called_damage(tmp_path, capfd):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    for file in folder.iterdir():
        with_distance(file, b"0 ")
    assert "next slice is 0 mm away (Spacing Between Slices)" in refusal(folder, capfd)


def test_a_distance_between_slices_may_be_told_as_negative(tmp_path):
    folder = write_series(tmp_path / "one", stack(0), each=[{"0018|0050": "0"}])
    with_distance(folder / "slice000.dcm", b"-4")
    assert read_ct(folder).GetSpacing()[2] == 4


@pytest.mark.parametrize(
    ("name", "otherwise"),
    [("ElementSpacing", "elementspacing"), ("TransformMatrix", "TRANSFORMMATRIX"), ("Offset", "offset")],
)
def test_an_entry_of_a_metaimage_in_another_spelling(tmp_path, capfd, name, otherwise):
    """ITK passes over it, and takes 1 mm, or 0."""
    path = written(volume(), tmp_path / "ct.mha")
    read_ct(path)
    path.write_bytes(path.read_bytes().replace(name.encode(), otherwise.encode()))
    assert f"'{name}' in another spelling, which is not read" in refusal(path, capfd)


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
@pytest.mark.parametrize("place", ["before", "behind"])
def test_voxels_in_a_file_that_is_longer_than_they_are(tmp_path, capfd, suffix, place):
    """ITK reads them from its first byte; where the header tells what to pass over, they are right."""
    path = written(volume(), tmp_path / f"ct{suffix}")
    voxels = tmp_path / "ct.raw"
    assert voxels.is_file()
    content = voxels.read_bytes()
    voxels.write_bytes(bytes(2048) + content if place == "before" else content + bytes(2048))
    assert f"{voxels} is 2048 bytes longer than the voxels" in refusal(path, capfd)
    if place == "before":
        entry, file = ("HeaderSize = -1\n", "ElementDataFile") if suffix == ".mhd" else ("byte skip: -1\n", "data file")
        path.write_text(path.read_text().replace(file, entry + file))
        assert sitk.Hash(read_ct(path)) == sitk.Hash(volume())


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("place", ["before", "behind"])
def test_compressed_voxels_that_are_more_than_the_header_tells(tmp_path, capfd, suffix, place):
    """Of those before, ITK takes the first ones for the CT's."""
    more = {"before": np.zeros((1, 12, 16), np.int16), "behind": np.zeros((0, 12, 16), np.int16)}[place]
    values = np.concatenate([more, sitk.GetArrayFromImage(volume()), np.zeros((1 - len(more), 12, 16), np.int16)])
    ct = sitk.GetImageFromArray(values)
    ct.SetSpacing(volume().GetSpacing())
    path = tmp_path / f"ct{suffix}"
    sitk.WriteImage(ct, str(path), useCompression=True)
    assert read_ct(path).GetSize()[2] == 6
    content = path.read_bytes()
    size = b"sizes: 16 12 %d\n" if suffix in (".nrrd", ".nhdr") else b"DimSize = 16 12 %d\n"
    assert content.count(size % 6) == 1
    path.write_bytes(content.replace(size % 6, size % 5))
    assert "is 384 bytes longer than the voxels that" in refusal(path, capfd)
    with pytest.raises(InputError, match="384 bytes longer"):
        read_label(path)


@pytest.mark.parametrize("read_beyond", [0, 1, 2])
def test_compressed_voxels_in_several_streams_are_whole(tmp_path, monkeypatch, read_beyond):
    """Wherever in them the end of what is read at a time lies."""
    path = tmp_path / "ct.nrrd"
    sitk.WriteImage(volume(), str(path), useCompression=True)
    header = path.read_bytes().partition(b"\n\n")[0]
    voxels = sitk.GetArrayFromImage(volume()).tobytes()
    first = gzip.compress(voxels[:700])
    path.write_bytes(header + b"\n\n" + first + gzip.compress(voxels[700:]))
    monkeypatch.setattr("HLFDSegmentationLib.image_files.text_headers.BLOCK_BYTES", len(first) + read_beyond)
    assert sitk.Hash(read_ct(path)) == sitk.Hash(volume())


@pytest.mark.parametrize(
    "several", ["s%d.raw 5 1 1", "s%d.raw 0 4 0", "s%d.raw 0 99999999999 1", "s%999999999d.raw 0 4 1", "s%d.raw 4 0 -1"]
)
def test_files_of_voxels_that_cannot_be_numbered_so_are_refused(tmp_path, capfd, several):
    """At some of them ITK would end the whole program."""
    path = written(volume(), tmp_path / "ct.mhd")
    header = path.read_text()
    assert header.count("ct.raw") == 1
    path.write_text(header.replace("ct.raw", several))
    assert "ct.mhd" in refusal(path, capfd)


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
@pytest.mark.parametrize("listed", [False, True], ids=["numbered", "listed"])
def test_one_file_of_voxels_among_several_that_is_longer(tmp_path, capfd, suffix, listed):
    path = written(volume(), tmp_path / f"ct{suffix}")
    voxels = sitk.GetArrayFromImage(volume())
    names = [f"slice{number:02d}.raw" for number in range(5)]
    for name, plane in zip(names, voxels):
        (tmp_path / name).write_bytes(plane.tobytes())
    several = "\n".join(["LIST", *names]) if listed else "slice%02d.raw 0 4 1"
    path.write_text(path.read_text().replace("ct.raw", several))
    assert sitk.Hash(read_ct(path)) == sitk.Hash(volume())
    longer = tmp_path / names[3]
    longer.write_bytes(bytes(100) + longer.read_bytes())
    assert f"{longer} is 100 bytes longer than the voxels that {path} tells of" in refusal(path, capfd)


@pytest.mark.parametrize("place", ["before", "behind"])
def test_nrrd_with_a_list_of_one_volume(tmp_path, place):
    """ITK takes it for vectors of one number, which other parts of it refuse."""
    path = tmp_path / "ct.nrrd"
    sitk.WriteImage(volume(), str(path))

    def with_list(header: bytes) -> bytes:
        one = {"sizes": b"1", "space directions": b"none", "kinds": b"list"}
        for name, value in one.items():
            both = rb"\1 " + value + rb" \2" if place == "before" else rb"\1 \2 " + value
            header = re.sub(rb"(?m)^(" + name.encode() + rb":) (.*)$", both, header)
        return header.replace(b"dimension: 3", b"dimension: 4")

    ct = read_ct(with_header(path, with_list))
    assert ct.GetPixelID() == sitk.sitkInt16 and sitk.Hash(ct) == sitk.Hash(volume())
    assert ct.GetSpacing() == volume().GetSpacing()


@pytest.mark.parametrize("offset", [0.0, 348.0])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_whose_voxels_begin_in_its_header(tmp_path, capfd, offset, suffix):
    """ITK reads them shifted by two."""
    content = bytearray(written(volume(), tmp_path / "good.nii").read_bytes())
    struct.pack_into("<f", content, 108, offset)
    path = tmp_path / f"ct{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    assert f"begin within its header (vox_offset {offset:.0f})" in refusal(path, capfd)
    with pytest.raises(InputError, match="vox_offset"):
        read_label(path)


@pytest.mark.parametrize(("suffix", "right"), [(".nii", ".nii.gz"), (".nii.gz", ".nii")])
def test_nifti_under_the_name_of_the_other_kind(tmp_path, capfd, suffix, right):
    good, path = written(volume(), tmp_path / f"good{right}"), tmp_path / f"ct{suffix}"
    path.write_bytes(good.read_bytes())
    assert f"Rename it, so that its name ends in {right}." in refusal(path, capfd)
    with pytest.raises(InputError, match="Rename it"):
        read_label(path)


def with_header(path: Path, change) -> Path:
    """A file whose text header was changed."""
    header, separator, voxels = path.read_bytes().partition(b"\n\n" if path.suffix == ".nrrd" else b"LOCAL\n")
    path.write_bytes(change(header) + separator + voxels)
    return path


def without(*names: bytes):
    """Leaves out the header's lines that begin with a name."""
    return lambda header: (
        b"\n".join(line for line in header.split(b"\n") if not line.startswith(names))
        + (b"\n" if header.endswith(b"\n") else b"")
    )


def directions(told: bytes):
    """Tells a NRRD file's axes otherwise."""
    return lambda header: re.sub(rb"space directions: .*", b"space directions: " + told, header)


@pytest.mark.parametrize(
    ("suffix", "change", "told"),
    [
        (".nrrd", without(b"space directions", b"space origin"), "does not say how large its voxels are"),
        (".nrrd", directions(b"none none none"), "'space directions' of fewer than three axes"),
        (".nrrd", directions(b"(0.7,0,0) (0,0.8,0) none"), "does not say how large its voxels are"),
        (".nrrd", directions(b"(0.7,0,0) (0,0.8,0) (nan,nan,nan)"), "does not say how large its voxels are"),
        (".nrrd", lambda header: header.replace(b"left-posterior-superior", b"scanner-xyz"), "how the patient lies"),
        (".nrrd", lambda header: header + b'\nspace units: "cm" "cm" "cm"', "spacing in cm"),
        (".mha", without(b"ElementSpacing"), "does not say how large its voxels are"),
        (".mha", without(b"TransformMatrix"), "how the patient lies"),
        (".mha", lambda header: header.replace(b"Element", b"DistanceUnits = cm\nElement", 1), "spacing in cm"),
    ],
)
def test_file_that_does_not_tell_its_geometry(suffix, change, told, tmp_path, capfd):
    path = tmp_path / f"ct{suffix}"
    sitk.WriteImage(volume(), str(path))
    read_ct(path)
    assert told in refusal(with_header(path, change), capfd)


def test_nrrd_whose_units_are_millimeters(tmp_path):
    path = written(volume(), tmp_path / "ct.nrrd")
    assert read_ct(with_header(path, lambda header: header + b'\nspace units: "mm" "mm" "mm"')).GetSpacing()[2] == 2.5


def test_nifti_with_two_spacings(tmp_path, capfd):
    path = written(volume(), tmp_path / "ct.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<3f", content, 80, 1.0, 1.0, 1.0)
    path.write_bytes(bytes(content))
    assert "two different voxel spacings" in refusal(path, capfd)


@pytest.mark.parametrize("turned", [0, 30])
@pytest.mark.parametrize("mirrored", [None, 0, 1, 2])
def test_nifti_that_tells_two_orientations(turned, mirrored, tmp_path, capfd):
    """The quaternion is ITK's own; the matrix beside it agrees, but for a mirrored axis."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.2, -0.3, np.radians(turned))
    ct = volume()
    ct.SetDirection(turn.GetMatrix())
    path = written(ct, tmp_path / "ct.nii")
    content = bytearray(path.read_bytes())
    assert struct.unpack_from("<2h", content, 252) == (1, 1)
    read_ct(path)
    if mirrored is not None:
        for place in range(280 + 4 * mirrored, 328, 16):
            struct.pack_into("<f", content, place, -struct.unpack_from("<f", content, place)[0])
        path.write_bytes(bytes(content))
        assert "which are opposite to" in refusal(path, capfd)


def with_forms(path: Path, codes=(1, 1), *, turned=0.0, moved=0.0, shear=0.0) -> Path:
    """A NIfTI file whose sform is changed beside its qform."""
    content = bytearray(written(volume(), path.with_name("good.nii")).read_bytes())
    sform = np.reshape(struct.unpack_from("<12f", content, 280), (3, 4))
    turn = sitk.Euler3DTransform((0, 0, 0), np.radians(turned), 0, 0)
    sform[:, :3] = np.reshape(turn.GetMatrix(), (3, 3)) @ sform[:, :3]
    sform[1, 2] += shear * 2.5
    sform[2, 3] += moved
    struct.pack_into("<2h", content, 252, *codes)
    struct.pack_into("<12f", content, 280, *sform.ravel())
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("code", [1, 2])
@pytest.mark.parametrize(("turned", "moved", "told"), [(30, 0, "30° and 0 mm"), (0, 300, "0° and 300 mm")])
def test_nifti_that_places_the_patient_twice(code, turned, moved, told, tmp_path, capfd):
    path = with_forms(tmp_path / "ct.nii", (code, code), turned=turned, moved=moved)
    assert f"differ by {told}" in refusal(path, capfd)


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 1)])
def test_nifti_whose_two_places_hardly_differ(codes, tmp_path):
    path = with_forms(tmp_path / "ct.nii", codes, turned=4, moved=4)
    ct, doubts = read_ct_and_doubts(path)
    assert ct.GetSize() == (16, 12, 5) and doubts == []


@pytest.mark.parametrize(
    ("codes", "used"), [((1, 2), "qform"), ((1, 4), "qform"), ((2, 1), "sform"), ((2, 4), "qform")]
)
def test_nifti_that_is_aligned_with_another_image_is_read_and_noted(codes, used, tmp_path):
    path = with_forms(tmp_path / "ct.nii", codes, turned=30, moved=12)
    assert (read_ct(path).GetOrigin()[2] == 12) == (used == "sform")
    (note,) = read_ct_and_doubts(path)[1]
    assert f"differ by 30° and 12 mm. Its {used} was used" in note


@pytest.mark.parametrize("codes", [(0, 2), (2, 0)])
def test_nifti_with_one_place_has_no_other(codes, tmp_path):
    path = with_forms(tmp_path / "ct.nii", codes, turned=30, moved=300)
    ct, doubts = read_ct_and_doubts(path)
    assert ct.GetSize() == (16, 12, 5) and doubts == []


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (0, 1)])
def test_sheared_nifti(codes, tmp_path, capfd, monkeypatch):
    """ITK takes the qform beside it, or, where the environment says so, the nearest axes at right angles."""
    path = with_forms(tmp_path / "ct.nii", codes, shear=0.3)
    monkeypatch.setenv("ITK_NIFTI_SFORM_PERMISSIVE", "1")
    assert "sheared against each other (in its sform)" in refusal(path, capfd)
    read_ct(with_forms(path, (1, 1), shear=5e-4))


@pytest.mark.parametrize("orient", [0, 1, 3])
def test_analyze_pairs_are_refused(orient, tmp_path, capfd):
    """Their orientation has the place of NIfTI's qform code, and means something else."""
    path = written(volume(), tmp_path / "ct.hdr")
    content = bytearray(path.read_bytes())
    content[252:348] = bytes(96)
    content[252] = orient
    path.write_bytes(content)
    assert "Analyze 7.5 file, which does not say how the patient lies" in refusal(path, capfd)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", "<>")
def test_nifti_2_is_called_so(order, suffix, tmp_path, capfd):
    content = bytearray(544 + volume().GetNumberOfPixels() * 2)
    struct.pack_into(
        f"{order}i8s2h8q8d3q", content, 0, 540, b"n+2\0\r\n\x1a\n", 4, 16, 3, 16, 12, 5, *[1] * 12, 544, 1, 0
    )
    path = tmp_path / f"ct{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    assert "NIfTI-2" in refusal(path, capfd)
    with pytest.raises(InputError, match="NIfTI-2"):
        read_label(path)


def in_unit(path: Path, code: int, size: float) -> Path:
    """A NIfTI file whose lengths are in a unit of so many mm."""
    content = bytearray(written(volume(), path).read_bytes())
    content[123] = code
    for place, kind in ((80, "<3f"), (268, "<3f"), (280, "<12f")):
        struct.pack_into(kind, content, place, *np.array(struct.unpack_from(kind, content, place)) / size)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("code", "size"), [(1, 1000), (2, 1), (3, 0.001), (10, 1), (11, 0.001)])
def test_nifti_in_other_units(code, size, tmp_path):
    path = in_unit(tmp_path / "ct.nii", code, size)
    assert read_ct(path).GetSpacing() == pytest.approx((0.7, 0.8, 2.5))


@pytest.mark.parametrize(("code", "told"), [(1, "700 x 800 x 2500 mm"), (3, "0.0007 x 0.0008 x 0.0025 mm")])
def test_nifti_in_a_wrong_unit(code, told, tmp_path, capfd):
    assert f"{told}, which no CT has" in refusal(in_unit(tmp_path / "ct.nii", code, 1), capfd)


def test_flat_nifti(tmp_path, capfd):
    assert "2-D image" in refusal(written(volume((12, 16)), tmp_path / "flat.nii"), capfd)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_sheared_slices(suffix, tmp_path, capfd):
    ct = volume()
    path = tmp_path / f"ct{suffix}"
    sitk.WriteImage(ct, str(path))
    turned = {
        ".nrrd": (rb"space directions: .*", b"space directions: (0.7,0,0) (0,0.8,0) (0,0.9,2.5)"),
        ".mha": (rb"TransformMatrix = .*", b"TransformMatrix = 1 0 0 0 1 0 0 0.34 0.94"),
    }[suffix]
    assert "sheared" in refusal(with_header(path, lambda header: re.sub(*turned, header)), capfd)


# DICOM files of other kinds


def test_file_of_many_slices(tmp_path, capfd):
    path = tmp_path / "enhanced.dcm"
    written(sitk.Cast(volume() + 1024, sitk.sitkUInt16), path)
    assert "Enhanced CT" in refusal(path, capfd)


@pytest.mark.parametrize("kind", ["1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"])
def test_enhanced_ct_with_one_slice_a_file(tmp_path, capfd, kind):
    """It tells sizes and places elsewhere, and an export makes nothing better."""
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5), each=[{"0008|0016": kind}] * 3)
    path = min(folder.iterdir())
    assert sitk.ReadImage(str(path)).GetMetaData("0008|0016").strip("\0 ") == kind
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"\x28\x00\x30\x00", b"\x28\x00\x31\x00"))
    assert "Enhanced CT" in refusal(folder, capfd) and "Enhanced CT" in refusal(path, capfd)


UNTOLD_PLACES = {
    "zeros": ("0020|0037", "0\\0\\0\\0\\0\\0"),
    "one axis": ("0020|0037", "-1\\0\\0"),
    "no second axis": ("0020|0037", "-1\\0\\0\\0\\0\\0"),
    "parallel": ("0020|0037", "1\\0\\0\\1\\0\\0"),
    "no length of 1": ("0020|0037", "1\\0\\0\\0\\0.7\\0"),
    "two numbers": ("0020|0032", "-120\\-80"),
    "no number": ("0020|0032", "-120\\-80\\nan"),
}


@pytest.mark.parametrize(("entry", "value"), UNTOLD_PLACES.values(), ids=UNTOLD_PLACES.keys())
@pytest.mark.parametrize("single", [False, True], ids=["series", "file"])
def test_slices_whose_place_cannot_be_understood_are_refused(tmp_path, capfd, entry, value, single):
    """ITK takes the patient for one on the back, head first."""
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    path = max(folder.iterdir())
    with_entry(path, entry, value)
    assert "does not say where its slice lies" in refusal(path if single else folder, capfd)


def test_rounded_axes_of_a_tilted_slice_are_read(tmp_path):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    for file in folder.iterdir():
        with_entry(file, "0020|0037", "0.966\\0.259\\0\\-0.259\\0.966\\0")
    assert read_ct(folder).GetDirection()[0] == pytest.approx(0.966, abs=1e-3)


def test_single_slice_is_as_thick_as_it_says_and_not_as_far_from_the_next(tmp_path):
    folder = write_series(tmp_path / "one", stack(0), each=[{"0018|0050": "4"}])
    with_distance(folder / "slice000.dcm", b"10")
    assert read_ct(folder).GetSpacing()[2] == read_ct(next(folder.iterdir())).GetSpacing()[2] == 4


def test_single_slice_that_does_not_tell_how_far_the_next_is(tmp_path):
    folder = write_series(tmp_path / "one", stack(0))
    path = next(folder.iterdir())
    image = sitk.ReadImage(str(path))
    image.SetMetaData("0018|0050", "4")
    sitk.WriteImage(image, str(path))
    # The writer tells a distance between slices, which many scanners leave out: it becomes an entry of no meaning.
    path.write_bytes(path.read_bytes().replace(b"\x18\x00\x88\x00", b"\x18\x00\x8f\x00"))
    assert not sitk.ReadImage(str(path)).HasMetaDataKey("0018|0088")
    assert read_ct(path).GetSpacing()[2] == read_ct(folder).GetSpacing()[2] == 4


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (b"\x20\x00\x37\x00", b"\x20\x00\x36\x00", "does not say where its slice lies"),
        (b"\x20\x00\x32\x00", b"\x20\x00\x31\x00", "does not say where its slice lies"),
        (b"MONOCHROME2", b"MONOCHROME1", "inverted values"),
    ],
    ids=["orientation", "position", "inverted"],
)
@pytest.mark.parametrize("single", [False, True], ids=["series", "file"])
def test_slices_of_unknown_place_or_of_inverted_values_are_refused(tmp_path, capfd, before, after, words, single):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    path = max(folder.iterdir())
    content = path.read_bytes()
    assert content.count(before) == 1
    path.write_bytes(content.replace(before, after))
    assert words in refusal(path if single else folder, capfd)


def test_a_slice_that_is_scaled_otherwise_than_the_first_keeps_its_hu(tmp_path):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    path = max(folder.iterdir())
    stored, slope = struct.pack("<h", 1044), b"\x28\x00\x53\x10\x02\x00\x00\x001 "
    content = path.read_bytes()
    assert content.endswith(stored) and content.count(slope) == 1
    content = content.removesuffix(stored) + struct.pack("<h", 1045)
    path.write_bytes(content.replace(slope, slope[:-2] + b".5"))
    found = sitk.GetArrayFromImage(read_ct(folder))
    assert found[1, 0, 0] == 10 and found[2, 0, 0] == -502 and found[2, -1, -1] == -501.5


@pytest.mark.parametrize("kind", ["1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.88.22"])
def test_contours_and_reports_beside_the_slices_are_left_out(kind, tmp_path):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    name = kind.encode() + b"\0" * (len(kind) % 2)
    entry = b"\x02\x00\x02\x00UI" + struct.pack("<H", len(name)) + name
    length = b"\x02\x00\x00\x00UL" + struct.pack("<HI", 4, len(entry))
    (folder / "other.dcm").write_bytes(bytes(128) + b"DICM" + length + entry)
    assert read_ct(folder).GetSize()[2] == 3


def test_a_folder_or_slice_that_may_not_be_read(tmp_path, capfd, monkeypatch):
    folder = write_series(tmp_path / "ct", stack(0, 5))

    def refuse(path, *_arguments, **_options):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", refuse)
        assert "Permission denied" in refusal(folder, capfd)
    (folder / "report").write_text("no image")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert f"{folder / 'report'} cannot be read" in refusal(folder, capfd)


def test_a_program_without_console_reads_a_ct(tmp_path, monkeypatch):
    path = written(volume(), tmp_path / "ct.nii.gz")
    monkeypatch.setattr("sys.stdout", None)
    assert read_ct(path).GetSize() == (16, 12, 5)


def test_a_slice_that_lies_a_third_of_the_distance_away_from_its_place(tmp_path, capfd):
    folder = write_series(tmp_path / "uneven", stack(0, 2.5, 5.75, 7.5, 10))
    assert "not evenly spaced: 3.25 mm lie between slice001.dcm and slice002.dcm" in refusal(folder, capfd)


def test_one_slice_of_another_pixel_size(tmp_path, capfd):
    """As where two reconstructions of one scan are mixed: each shows the patient at another scale."""
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    with_entry(folder / "slice001.dcm", "0028|0030", "0.84\\0.735")
    assert "different size or direction" in refusal(folder, capfd)


def test_one_slice_that_is_turned_by_a_few_degrees(tmp_path, capfd):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    with_entry(folder / "slice001.dcm", "0020|0037", "0.9986\\0.0523\\0\\-0.0523\\0.9986\\0")
    assert "different size or direction" in refusal(folder, capfd)


@pytest.mark.parametrize(("shift", "told"), [(0.7, False), (1.2, True)])
def test_slices_may_be_shifted_by_a_pixel_and_no_more(shift, told, tmp_path, capfd):
    positions = [(0.0, height * shift / 10, height) for height in np.arange(5) * 2.5]
    folder = write_series(tmp_path / "tilted", positions)
    if told:
        assert f"shifted against each other by up to {shift} mm" in refusal(folder, capfd)
    else:
        assert read_ct(folder).GetSize()[2] == 5


def test_a_slice_of_another_intercept_than_the_first_keeps_its_hu(tmp_path):
    """Of the first slice's type, whole numbers, the half would be cut off."""
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    with_entry(folder / "slice002.dcm", "0028|1052", "-1023.5 ")
    assert sitk.GetArrayFromImage(read_ct(folder))[:, 0, 0].tolist() == [0, 10, 20.5]


def test_impossible_distance_between_dicom_slices(tmp_path, capfd):
    folder = write_series(tmp_path / "far", stack(0, 150, 300))
    assert "0.7 x 0.8 x 150 mm, which no CT has" in refusal(folder, capfd)


def test_slices_whose_axes_are_not_at_right_angles(tmp_path, capfd):
    folder = write_series(tmp_path / "series", stack(0, 2.5, 5))
    for file in folder.iterdir():
        with_entry(file, "0020|0037", "1\\0\\0\\0.2\\0.98\\0")
    assert "does not say where its slice lies" in refusal(folder, capfd)


def test_a_series_of_color_pictures_is_refused(tmp_path, capfd):
    (tmp_path / "color").mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, position in enumerate(stack(0, 2.5, 5)):
        gray = sitk.Cast(volume((1, 12, 16)), sitk.sitkUInt8)
        image = sitk.Compose([gray] * 3)
        for key, value in {
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.7.{number + 1}",
            "0008|0060": "CT",
            "0020|000e": "1.2.826.0.1.3680043.2.1125.7",
            "0020|0032": "\\".join(f"{mm:g}" for mm in position),
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(tmp_path / "color" / f"slice{number}.dcm"))
        writer.Execute(image)
    assert "in color, not CT slices" in refusal(tmp_path / "color", capfd)


@pytest.mark.parametrize(("turned", "moved", "told"), [(7, 0, "7° and 0 mm"), (0, 7, "0° and 7 mm")])
def test_nifti_that_places_the_patient_twice_by_little(turned, moved, told, tmp_path, capfd):
    path = with_forms(tmp_path / "ct.nii", (1, 1), turned=turned, moved=moved)
    assert f"differ by {told}" in refusal(path, capfd)


def test_nifti_of_which_one_way_is_turned_by_a_quarter(tmp_path, capfd):
    """Also where the ways mean different things, by their codes: no alignment turns a patient so far."""
    assert "which are opposite to" in refusal(with_forms(tmp_path / "ct.nii", (1, 2), turned=90), capfd)


def test_nifti_with_two_spacings_that_differ_by_a_twentieth(tmp_path, capfd):
    path = written(volume(), tmp_path / "ct.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<3f", content, 80, 0.7, 0.8, 2.5 * 1.05)
    path.write_bytes(bytes(content))
    assert "two different voxel spacings" in refusal(path, capfd)


@pytest.mark.parametrize(("spacing", "read"), [(0.009, False), (0.011, True), (99.0, True), (101.0, False)])
def test_the_smallest_and_the_widest_spacing_of_a_ct(spacing, read, tmp_path, capfd):
    ct = volume()
    ct.SetSpacing((0.7, 0.8, spacing))
    path = written(ct, tmp_path / "ct.nrrd")
    if read:
        assert read_ct(path).GetSpacing()[2] == pytest.approx(spacing)
    else:
        assert "which no CT has" in refusal(path, capfd)


@pytest.mark.parametrize(
    ("suffix", "change"),
    [
        (".nrrd", lambda header: header.replace(b"left-posterior-superior", b"scanner-xyz")),
        (".mha", without(b"TransformMatrix")),
    ],
)
def test_a_label_must_say_how_the_patient_lies_where_that_is_asked_for(suffix, change, tmp_path):
    """As one that is laid on a CT by its geometry; one beside its CT, on the same grid, need not."""
    path = with_header(written(sitk.Cast(volume() > 0, sitk.sitkUInt8), tmp_path / f"label{suffix}"), change)
    assert read_label(path).GetSize() == (16, 12, 5)
    with pytest.raises(InputError, match="how the patient lies"):
        read_label(path, orientation=True)
