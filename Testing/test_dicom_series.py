"""A DICOM series that would give a wrong result is refused or told of; what real scanners write is read in silence."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from generated_cases import blob_case
from HLFDSegmentationLib.ct_files import read_ct_and_doubts
from HLFDSegmentationLib.image_files.dicom_loaded import modality_problem, series_cautions_and_doubts
from HLFDSegmentationLib.model_package import read_package
from HLFDSegmentationLib.pipeline import explain_to_folder, segment_to_folder
from test_bad_ct import SERIES, refusal, stack, write_series

IMAGE_TYPE, RESCALE_TYPE, THICKNESS = "0008|0008", "0028|1054", "0018|0050"
AGENT, VOLTAGE, KERNEL = "0018|0010", "0018|0060", "0018|1210"
DESCRIPTION = "0008|103e"
ACQUISITION, TIME, NUMBER, CONTENT_TIME = "0020|0012", "0008|0032", "0020|0013", "0008|0033"


def series(folder: Path, tags: Callable[[int], dict[str, str]], count: int = 40) -> Path:
    """Even slices, from the feet to the head, each with tags that depend on its place."""
    return write_series(folder / "ct", stack(*np.arange(count) * 2.5), each=[tags(place) for place in range(count)])


def doubts(path: Path) -> list[str]:
    return read_ct_and_doubts(path)[1]


def clock(seconds: float) -> str:
    """A time of day after ten o'clock, as DICOM writes it."""
    return f"10{int(seconds // 60):02d}{seconds % 60:09.6f}"


# Files without their first 132 bytes, as some programs write them


def strip(folder: Path) -> Path:
    """ITK takes such files for none; GDCM, its reader of DICOM, lists and reads them."""
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    return folder


def test_a_series_whose_files_lack_their_beginning_is_read(tmp_path):
    folder = series(tmp_path, lambda place: {THICKNESS: "1"}, 5)
    ct, told = read_ct_and_doubts(folder)
    bare, told_of_bare = read_ct_and_doubts(strip(folder))
    assert np.array_equal(sitk.GetArrayViewFromImage(ct), sitk.GetArrayViewFromImage(bare))
    assert (bare.GetSpacing(), bare.GetOrigin()) == (ct.GetSpacing(), ct.GetOrigin())
    assert len(told) == 1 and told_of_bare == told


@pytest.mark.parametrize("stripped", [range(10, 40), [10]], ids=["all", "the first"])
def test_of_two_series_none_is_passed_over_because_files_lack_their_beginning(stripped, tmp_path, capfd):
    """The short series was read, and nobody was told of the long one."""
    folder = write_series(tmp_path / "ct", stack(*np.arange(10) * 2.5))
    write_series(folder, stack(*np.arange(30) * 2.5), uid=f"{SERIES}.9", first=10)
    for number in stripped:
        path = folder / f"slice{number:03d}.dcm"
        path.write_bytes(path.read_bytes()[132:])
    assert "holds 2 DICOM series" in refusal(folder, capfd)


def test_a_projection_or_mr_whose_files_lack_their_beginning_is_told(tmp_path, capfd):
    tags = {IMAGE_TYPE: "DERIVED\\SECONDARY\\MIP", DESCRIPTION: "MIP", "0008|0060": "MR"}
    files = [str(file) for file in strip(series(tmp_path, lambda place: tags, 3)).iterdir()]
    (caution,), told = series_cautions_and_doubts(files)
    assert "is a projection (MIP)" in caution and told == [] and "it is MR, not CT" in modality_problem(files)
    assert capfd.readouterr() == ("", "")


# How values become HU


@pytest.mark.parametrize(("entry", "name"), [(b"\x52\x10", "intercept"), (b"\x53\x10", "slope")])
def test_a_rescale_that_some_files_do_not_tell_is_refused(entry, name, tmp_path, capfd):
    folder = series(tmp_path, lambda place: {}, 5)
    path = folder / "slice003.dcm"
    content = path.read_bytes()
    assert content.count(b"\x28\x00" + entry) == 1
    # The entry becomes one of no meaning here.
    path.write_bytes(content.replace(b"\x28\x00" + entry, b"\x28\x00\x55\x10"))
    text = refusal(folder, capfd)
    assert f"rescale {name}" in text and "(slice000.dcm)" in text and "(slice003.dcm)" in text


# Two scans in one series


def second(place: int) -> bool:
    """Whether a slice is of the second phase, where both come by turns."""
    return place % 2 == 1


MIXED = {
    "acquisition number": lambda place: {ACQUISITION: "3" if second(place) else "2"},
    "acquisition number, told by one phase alone": lambda place: {ACQUISITION: "2"} if second(place) else {},
    "acquisition number, two slices and two": lambda place: {ACQUISITION: str(place // 2 % 2)},
    "acquisition number of three phases": lambda place: {ACQUISITION: str(place % 3)},
    "acquisition number, in a part of the series": lambda place: {ACQUISITION: str(int(10 < place < 20 and place % 2))},
    "contrast agent": lambda place: {AGENT: "Iohexol"} if second(place) else {},
    "tube voltage": lambda place: {VOLTAGE: "80" if second(place) else "140"},
    "convolution kernel": lambda place: {KERNEL: "B70f" if second(place) else "B30f"},
    "acquisition time": lambda place: {TIME: clock(place * 0.2 + 30 * second(place))},
    "acquisition time, the same in a phase": lambda place: {TIME: clock(45 * second(place))},
    "acquisition time, one phase from head to feet": lambda place: {
        TIME: clock(40 - place * 0.2 if second(place) else place * 0.2)
    },
    "acquisition time, with colons": lambda place: {TIME: "10:00:30" if second(place) else "10:00:00"},
}


@pytest.mark.parametrize("tags", MIXED.values(), ids=MIXED.keys())
def test_two_phases_in_turns_are_refused(tags, tmp_path, capfd):
    text = refusal(series(tmp_path, tags), capfd)
    assert "mixes slices of two scans" in text and "Export one of them alone" in text


@pytest.mark.parametrize("tags", MIXED.values(), ids=MIXED.keys())
def test_two_phases_in_turns_that_another_program_has_read_are_told(tags, tmp_path):
    """In whatever order it knows the files, and without their names."""
    files = [str(file) for file in series(tmp_path, tags).iterdir()]
    random.Random(0).shuffle(files)
    (caution,), doubts = series_cautions_and_doubts(files)
    assert "mixes slices of two scans" in caution and "slice0" not in caution and str(tmp_path) not in caution
    assert doubts == []


def test_a_good_series_that_another_program_has_read_is_not_doubted(tmp_path):
    files = [str(file) for file in series(tmp_path, lambda place: {ACQUISITION: "2"}).iterdir()]
    assert series_cautions_and_doubts(files) == ([], [])
    assert series_cautions_and_doubts([]) == ([], [])
    assert modality_problem(files) is None and modality_problem([]) is None


@pytest.mark.parametrize("modality", ["MR", "PT"])
def test_a_series_that_another_program_has_read_and_that_is_no_ct_is_told(modality, tmp_path):
    folder = write_series(tmp_path / "series", stack(0, 2.5), modality=modality)
    assert f"it is {modality}, not CT" in modality_problem([str(file) for file in folder.iterdir()])


@pytest.mark.parametrize("count", [1, 5])
def test_a_projection_that_another_program_has_read_is_told(count, tmp_path):
    files = [str(file) for file in series(tmp_path, lambda place: {IMAGE_TYPE: "DERIVED\\\\MIP"}, count).iterdir()]
    (caution,), _doubts = series_cautions_and_doubts(files)
    assert "is a projection (MIP): the highest or lowest values" in caution


def test_gaps_and_numbers_to_and_fro_that_another_program_has_read_are_told(tmp_path):
    def tags(place: int) -> dict[str, str]:
        return {THICKNESS: "1", NUMBER: str(place // 2 + 100 * second(place))}

    files = [str(file) for file in series(tmp_path, tags).iterdir()]
    cautions, doubts = series_cautions_and_doubts(files)
    assert cautions == [] and len(doubts) == 2
    assert "jump to and fro" in doubts[0] and "1 mm thick and 2.5 mm apart" in doubts[1]


def test_of_files_that_are_gone_or_cannot_be_read_nothing_is_told(tmp_path, capfd):
    folder = series(tmp_path, MIXED["acquisition number"], 5)
    files = [str(file) for file in folder.iterdir()]
    (folder / "slice002.dcm").write_bytes(b"no DICOM")
    assert series_cautions_and_doubts(files) == ([], [])
    assert series_cautions_and_doubts([str(tmp_path / "gone.dcm")]) == ([], [])
    picture = tmp_path / "picture.png"
    sitk.WriteImage(sitk.Image(8, 8, sitk.sitkUInt8), str(picture))
    assert series_cautions_and_doubts([str(picture)] * 2) == ([], [])
    assert modality_problem([str(tmp_path / "gone.dcm")]) is None and modality_problem([str(picture)]) is None
    assert capfd.readouterr() == ("", "")


def test_the_refusal_of_two_phases_names_a_slice_of_each(tmp_path, capfd):
    text = refusal(series(tmp_path, MIXED["acquisition number"]), capfd)
    assert "the acquisition number changes to and fro (slice000.dcm: 2 and slice001.dcm: 3)" in text


def test_the_refusal_by_times_names_slices_that_tell_one(tmp_path, capfd):
    folder = series(tmp_path, lambda place: {TIME: clock(45 * second(place))} if place else {})
    assert "(slice001.dcm: 100045.000000 and slice002.dcm: 100000.000000)" in refusal(folder, capfd)


def test_a_short_series_of_two_phases_is_refused(tmp_path, capfd):
    assert "two scans" in refusal(series(tmp_path, MIXED["acquisition number"], 5), capfd)


BY_NAME = sorted(range(1, 41), key=str)
SHUFFLED = random.Random(0).sample(range(1, 41), 40)
RECEIVED = np.random.default_rng(0).uniform(0, 30, 40)

NORMAL = {
    "numbered from the head": lambda place: {NUMBER: str(40 - place)},
    "all numbers alike": lambda place: {NUMBER: "1"},
    "numbers by pairs": lambda place: {NUMBER: str(place // 2)},
    "no numbers": lambda place: {NUMBER: ""},
    "numbers told by every other file": lambda place: {NUMBER: "" if second(place) else str(place)},
    "numbers in no order": lambda place: {NUMBER: str(SHUFFLED[place])},
    "numbers in the order of names": lambda place: {NUMBER: str(BY_NAME.index(place + 1) + 1)},
    "neighbors exchanged": lambda place: {NUMBER: str(place + 2 - 2 * (place % 2))},
    "two parts, the upper one first": lambda place: {
        NUMBER: str((place + 20) % 40),
        ACQUISITION: str(1 + (place < 20)),
        TIME: clock(60 * (place < 20) + place * 0.2),
    },
    "two parts that exchange a slice where they meet": lambda place: {
        ACQUISITION: str(int(place in (19, 21, 22, *range(23, 40))))
    },
    "three parts that do": lambda place: {
        ACQUISITION: str(int(place == 9 or place > 10) + int(place == 29 or place > 30))
    },
    "a rotation of the tube for four slices": lambda place: {ACQUISITION: str(place // 4), TIME: clock(place // 4 * 7)},
    "an acquisition for each slice": lambda place: {ACQUISITION: str(place), TIME: clock(place * 6)},
    "acquisitions in no order": lambda place: {ACQUISITION: str(SHUFFLED[place])},
    "a helix from head to feet": lambda place: {TIME: clock(20 - place * 0.3), NUMBER: str(40 - place)},
    "times that jitter": lambda place: {TIME: clock(place * 0.3 + 3 * second(place))},
    "no times": lambda place: {TIME: "", ACQUISITION: ""},
    "files made by several computers": lambda place: {TIME: "100000", CONTENT_TIME: clock(RECEIVED[place])},
    "times that are none": lambda place: {TIME: "ANON" if second(place) else "100000"},
    "made anew from a good series": lambda place: {IMAGE_TYPE: "DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE"},
    "a mean of slices": lambda place: {IMAGE_TYPE: "DERIVED\\SECONDARY\\AXIAL\\MEAN"},
    "overlapping slices": lambda place: {THICKNESS: "5"},
    "slices that touch": lambda place: {THICKNESS: "2.5"},
    "a thickness told by some": lambda place: {THICKNESS: "1"} if place else {THICKNESS: ""},
    "a thin slice among others": lambda place: {THICKNESS: "2.5" if place else "1"},
    "no thickness": lambda place: {THICKNESS: "0"},
    "HU, as is told": lambda place: {RESCALE_TYPE: "HU"},
    "modified HU": lambda place: {RESCALE_TYPE: "HU_MOD"},
    "values of a unit that is not told": lambda place: {RESCALE_TYPE: "US"},
    "no rescale type": lambda place: {RESCALE_TYPE: ""},
    "a description with letters of other words": lambda place: {DESCRIPTION: "MIPAX, Chest MIPped, AIP 5mm"},
    "a description with words that begin alike": lambda place: {DESCRIPTION: "Localisation, Localized lesion"},
    "no description": lambda place: {DESCRIPTION: ""},
}


@pytest.mark.parametrize("tags", NORMAL.values(), ids=NORMAL.keys())
def test_what_real_scanners_and_archives_write_is_read_without_a_word(tags, tmp_path):
    assert doubts(series(tmp_path, tags)) == []


NUMBERED_TO_AND_FRO = {
    "one phase after the other": lambda place: place + 41 * (place % 2),
    "three phases": lambda place: place + 41 * (place % 3),
    "one phase from head to feet": lambda place: 80 - place if place % 2 else place,
}


@pytest.mark.parametrize("number", NUMBERED_TO_AND_FRO.values(), ids=NUMBERED_TO_AND_FRO.keys())
def test_numbers_that_jump_as_in_two_phases_are_told(number, tmp_path):
    (doubt,) = doubts(series(tmp_path, lambda place: {NUMBER: str(number(place))}))
    assert "numbers of the CT's DICOM files jump to and fro" in doubt and "Scroll through the CT" in doubt


# Gaps


def test_gaps_between_slices_are_told(tmp_path):
    (doubt,) = doubts(series(tmp_path, lambda place: {THICKNESS: "1.25"}))
    assert "slices are 1.25 mm thick and 2.5 mm apart" in doubt and "small lesions can be missed" in doubt


# What is no slice, and no HU


@pytest.mark.parametrize(
    ("image_type", "words"),
    [
        ("ORIGINAL\\PRIMARY\\LOCALIZER", "scout view"),
        ("ORIGINAL\\PRIMARY\\LOCALIZER\\CT_SOM5 TOP", "scout view"),
        ("DERIVED\\SECONDARY\\MIP", "projection (MIP)"),
        ("DERIVED\\SECONDARY\\AXIAL\\MINIP", "projection (MINIP)"),
        ("DERIVED\\SECONDARY\\PROJECTION IMAGE\\CSA MIP", "projection (MIP)"),
        ("DERIVED\\PRIMARY\\VOLUME\\MAX_IP", "projection (MAX_IP)"),
    ],
)
@pytest.mark.parametrize("single", [False, True], ids=["series", "file"])
def test_scout_views_and_projections_are_refused(image_type, words, single, tmp_path, capfd):
    folder = series(tmp_path, lambda place: {IMAGE_TYPE: image_type}, 4)
    path = folder / "slice000.dcm"
    assert sitk.ReadImage(str(path)).GetMetaData(IMAGE_TYPE).strip() == image_type
    text = refusal(path if single else folder, capfd)
    assert words in text and "axial slices" in text


@pytest.mark.parametrize(
    ("description", "word"),
    [
        ("AX MIP 10/2", "MIP"),
        ("Abdomen MinIP", "MinIP"),
        ("SMITH VENOUS MIP COR", "MIP"),
        ("thick_mips_cor", "mips"),
        ("MAX-IP sag", "MAX-IP"),
        ("Scout", "Scout"),
        ("Topogram 0.6 T20f", "Topogram"),
        ("LOCALIZER", "LOCALIZER"),
        ("Topogramm 0.6 T20s", "Topogram"),
        ("Scoutansicht", "Scout"),
        ("ScoutLateral", "Scout"),
        ("Localisateur", "Localisateur"),
        ("Lokalizer", "Lokalizer"),
        ("tMIP", "tMIP"),
    ],
)
def test_a_series_that_is_named_as_a_projection_or_scout_view_is_doubted(description, word, tmp_path):
    """Where the image type says nothing. Of the name only the word is told: a patient's may stand in it."""
    folder = series(tmp_path, lambda place: {DESCRIPTION: description}, 3)
    (doubt,) = doubts(folder)
    assert f"holds '{word}', as that of a projection or scout view" in doubt and "SMITH" not in doubt
    assert doubts(folder / "slice001.dcm")[0] == doubt
    files = [str(file) for file in folder.iterdir()]
    assert series_cautions_and_doubts(files) == ([], [doubt])
    assert series_cautions_and_doubts(files[:1]) == ([], [doubt])


OTHER_UNITS = {
    "MGML": "mg/mL",
    "Z_EFF": "effective atomic number",
    "ED": "electron density",
    "EDW": "electron density by that of water",
    "PCT": "percent",
    "OD": "optical density",
}


@pytest.mark.parametrize(("term", "unit"), OTHER_UNITS.items())
@pytest.mark.parametrize("single", [False, True], ids=["series", "file"])
def test_values_that_are_no_hu_by_their_files_are_refused(term, unit, single, tmp_path, capfd):
    """As maps of iodine, of scanners of several energies."""
    folder = series(tmp_path, lambda place: {RESCALE_TYPE: term}, 4)
    path = folder / "slice000.dcm"
    assert sitk.ReadImage(str(path)).GetMetaData(RESCALE_TYPE).strip() == term
    text = refusal(path if single else folder, capfd)
    assert f"{unit} ({term}), not HU" in text and "that is in HU" in text


@pytest.mark.parametrize("count", [1, 5])
def test_values_that_are_no_hu_and_that_another_program_has_read_are_told(count, tmp_path):
    files = [str(file) for file in series(tmp_path, lambda place: {RESCALE_TYPE: "MGML"}, count).iterdir()]
    (caution,), _doubts = series_cautions_and_doubts(files)
    assert "are mg/mL (MGML), not HU" in caution and str(tmp_path) not in caution


# One file of a series


def test_a_single_file_tells_of_the_slices_beside_it(tmp_path, monkeypatch):
    folder = series(tmp_path, lambda place: {}, 4)
    write_series(folder, stack(0), uid=f"{SERIES}.9", first=4)
    (folder / "notes.txt").write_text("no DICOM")
    (doubt,) = doubts(folder / "slice002.dcm")
    assert "one of 4 slices of its DICOM series" in doubt and "give the folder" in doubt
    assert doubts(folder / "slice004.dcm") == []
    alone = folder / "slice003.dcm"
    content = alone.read_bytes()
    assert content.count(b"\x20\x00\x0e\x00") == 1
    alone.write_bytes(content.replace(b"\x20\x00\x0e\x00", b"\x20\x00\x0f\x00"))
    assert doubts(alone) == []  # It does not tell its series.
    alone.write_bytes(content)
    monkeypatch.chdir(folder)
    assert doubts(Path("slice002.dcm")) == [doubt]


def test_doubts_of_reading_stand_first_beside_the_result(tmp_path, untrained_package):
    package = read_package(untrained_package)
    ct, labels = blob_case(0)
    folder = tmp_path / "ct"
    folder.mkdir()
    write_thin(ct, folder)
    result = segment_to_folder(
        folder, tmp_path / "segmented", package, device="cpu", known=lambda _found: ["It is known."]
    )
    assert result.segmentation.notes[0] == "It is known."
    assert "2 mm thick and 8 mm apart" in result.segmentation.notes[1]
    assert "2 mm thick and 8 mm apart" in (tmp_path / "segmented" / "report.html").read_text(encoding="utf-8")
    sitk.WriteImage(labels, str(tmp_path / "labels.nii.gz"))
    result = explain_to_folder(folder, tmp_path / "labels.nii.gz", tmp_path / "explained", package, device="cpu")
    assert "2 mm thick and 8 mm apart" in result.segmentation.notes[0]


def write_thin(ct: sitk.Image, folder: Path) -> None:
    """A CT as DICOM slices that say that they are 2 mm thick."""
    for place in range(ct.GetSize()[2]):
        slice_ = sitk.Cast(ct[:, :, place : place + 1], sitk.sitkInt16)
        x, y, z = slice_.GetOrigin()
        tags = {
            "0008|0060": "CT",
            "0020|000e": SERIES,
            "0020|0032": f"{x:g}\\{y:g}\\{z:g}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            THICKNESS: "2",
        }
        for key, value in tags.items():
            slice_.SetMetaData(key, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{place}.dcm"))
        writer.Execute(slice_)


def test_a_unit_in_small_letters_is_one(tmp_path, capfd):
    assert "mg/mL (MGML), not HU" in refusal(series(tmp_path, lambda place: {RESCALE_TYPE: "mgml"}, 4), capfd)


def test_phases_seven_seconds_apart(tmp_path, capfd):
    text = refusal(series(tmp_path, lambda place: {TIME: clock(place * 0.1 + 7 * second(place))}), capfd)
    assert "mixes slices of two scans" in text


@pytest.mark.parametrize(("count", "told"), [(8, False), (12, True)])
def test_numbers_of_a_short_series(count, told, tmp_path):
    found = doubts(series(tmp_path, lambda place: {NUMBER: str(place + 41 * (place % 2))}, count))
    assert [("jump to and fro" in doubt) for doubt in found] == [True] * told
