import csv
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from generated_cases import blob_case
from HLFDSegmentationLib.errors import OutputError
from HLFDSegmentationLib.tasks import load_task
from HLFDTrainingLib.annotations.case_check import ALL_CASES, Finding, check_cases
from HLFDTrainingLib.annotations.checked_cases import _show_and_refuse, findings_table, write_findings_csv
from HLFDTrainingLib.cases import Case, find_cases
from HLFDTrainingLib.split import PARTS, Split, split_by_patient
from test_bad_ct import stack, write_series

TASK = load_task("kidney-tumor")
ABDOMEN = load_task("abdomen")
CUT_TASK = dataclasses.replace(TASK, window=(0.0, 250.0))
SPACING = (1.5, 1.25, 4.0)
GENERIC = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~"
    "Anatomic codes - DICOM master list~^^~^^"
)
"""What Slicer gives to every new segment."""


def ct_image(seed: int, spacing=SPACING) -> sitk.Image:
    """Air before and behind fat around soft tissue, in HU; the sides are cut off, for so small a body is none."""
    _, y, x = np.indices((6, 24, 24))
    array = np.where(np.hypot(y - 12, x - 12) < 7, 50, np.where(np.abs(y - 12) < 10, -100, -1000))
    array = array + np.random.default_rng(seed).integers(-15, 15, array.shape)
    image = sitk.GetImageFromArray(array.astype(np.int16))
    image.SetSpacing(spacing)
    return image


def label_image(ct: sitk.Image, values=(1, 2)) -> sitk.Image:
    array = np.zeros(ct.GetSize()[::-1], np.uint8)
    for number, value in enumerate(values):
        array[1:4, 10 + number, 8:12] = value
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(ct)
    return image


def write_case(folder: Path, seed: int, values=(1, 2)) -> Path:
    folder.mkdir(parents=True)
    ct = ct_image(seed)
    sitk.WriteImage(ct, str(folder / "imaging.nii.gz"))
    sitk.WriteImage(label_image(ct, values), str(folder / "segmentation.nii.gz"))
    return folder


@pytest.fixture
def kits(tmp_path) -> Path:
    """Two good cases in KiTS layout."""
    for number in range(2):
        write_case(tmp_path / "kits" / f"case_{number:05}", number)
    return tmp_path / "kits"


def test_what_the_task_does_not_see_or_keep_of_a_drawing_is_told(kits):
    """Such a network learns from a part of the organ, or its results lose one of two kidneys, and figures look fine."""
    case = find_cases(kits, TASK)[0]
    ct, label = sitk.ReadImage(str(case.ct)), sitk.ReadImage(str(case.label))
    drawn = sitk.GetArrayFromImage(label)
    drawn[:] = 0
    drawn[1:4, 10:13, 3:6] = drawn[1:4, 10:13, 18:21] = 1
    two = sitk.GetImageFromArray(drawn)
    two.CopyInformation(ct)
    sitk.WriteImage(two, str(case.label))

    def told(task):
        return [
            finding.problem
            for finding in check_cases([case], task)
            if "drawn lies" in finding.problem or "apart" in finding.problem
        ]

    assert told(TASK) == []
    narrow = dataclasses.replace(TASK, input_size=(32, 32), spacing=0.1)
    (unseen,) = told(narrow)
    assert unseen.startswith("100% of what is drawn lies outside of the middle 3 x 3 mm")
    single = dataclasses.replace(TASK, labels=(dataclasses.replace(TASK.labels[0], parts=1), *TASK.labels[1:]))
    (left_out,) = told(single)
    assert left_out.startswith("50% of the kidney lies apart")


def test_an_organ_of_which_nothing_but_its_tumor_is_drawn_is_told(kits):
    """As where a segment of the organ without its tumor was taken for the tumor."""
    case = find_cases(kits, TASK)[0]
    label = sitk.ReadImage(str(case.label))
    sitk.WriteImage(sitk.Cast(label > 0, sitk.sitkUInt8) * 2, str(case.label))
    (told,) = [finding for finding in check(kits) if "itself has no voxel" in finding.problem]
    assert (told.case, told.severity) == (case.name, "warning") and "the kidney itself" in told.problem


def test_a_segment_whose_value_is_no_number_is_told_of_its_case_alone(kits):
    bad, good = find_cases(kits, TASK)
    label = sitk.ReadImage(str(bad.label))
    label.SetMetaData("Segment0_LabelValue", "1.0")
    label.SetMetaData("Segment0_Name", "kidney")
    file = bad.label.with_name("label.seg.nrrd")
    sitk.WriteImage(label, str(file))
    finding = only(check_cases([dataclasses.replace(bad, label=file), good], TASK))
    assert (finding.case, finding.severity) == (bad.name, "error")
    assert str(file) in finding.problem and "'1.0', which is no whole number" in finding.problem


def check(folder: Path, task=TASK) -> list[Finding]:
    return check_cases(find_cases(folder, task), task)


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings_table(findings)
    return findings[0]


def rewrite(path: Path, change) -> None:
    """Changes an image file in place."""
    sitk.WriteImage(change(sitk.ReadImage(str(path))), str(path))


def test_good_cases_have_no_findings(kits):
    progress = []
    findings = check_cases(find_cases(kits, TASK), TASK, lambda *report: progress.append(report))
    assert findings == []
    assert progress == [("case_00000", 0.0), ("case_00001", 0.5)]


# Files


@pytest.mark.parametrize("name", ["imaging.nii.gz", "segmentation.nii.gz"])
def test_unreadable(kits, name):
    (kits / "case_00001" / name).write_text("this is no image")
    finding = only(check(kits))
    assert (finding.case, finding.severity) == ("case_00001", "error")
    assert name in finding.problem
    assert finding.remedy


@pytest.mark.parametrize("name", ["imaging.nii.gz", "segmentation.nii.gz"])
def test_absent(kits, name):
    cases = find_cases(kits, TASK)
    (kits / "case_00000" / name).unlink()
    finding = only(check_cases(cases, TASK))
    assert (finding.case, finding.severity) == ("case_00000", "error")
    assert finding.problem.startswith("There is no")


def test_label_with_several_values_a_voxel(kits):
    rewrite(kits / "case_00000" / "segmentation.nii.gz", lambda label: sitk.Compose(label, label))
    assert "overlapping segments" in only(check(kits)).problem


# Geometry


def moved(label: sitk.Image, by: float) -> sitk.Image:
    label.SetOrigin((0.0, by, 0.0))
    return label


def test_size_differs(kits):
    rewrite(kits / "case_00000" / "segmentation.nii.gz", lambda label: label[:, :, :5])
    finding = only(check(kits))
    assert (finding.case, finding.severity) == ("case_00000", "error")
    assert finding.problem == "The size of the CT is (24, 24, 6) voxels, and of the label (24, 24, 5) voxels."


def test_spacing_differs(kits):
    def change(label):
        label.SetSpacing((1.5, 1.25, 5.0))
        return label

    rewrite(kits / "case_00000" / "segmentation.nii.gz", change)
    problem = only(check(kits)).problem
    assert problem == "The spacing of the CT is (1.5, 1.25, 4) mm, and of the label (1.5, 1.25, 5) mm."


def test_origin_differs(kits):
    rewrite(kits / "case_00000" / "segmentation.nii.gz", lambda label: moved(label, 2.5))
    assert only(check(kits)).problem == "The origin of the CT is (0, 0, 0) mm, and of the label (0, 2.5, 0) mm."


def test_direction_differs(kits):
    def change(label):
        label.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
        return label

    rewrite(kits / "case_00000" / "segmentation.nii.gz", change)
    assert "direction of the CT is (1, 0, 0, 0, 1, 0, 0, 0, 1), and of the label (-1, 0" in only(check(kits)).problem


def test_rounding_in_headers_is_no_difference(kits):
    rewrite(kits / "case_00000" / "segmentation.nii.gz", lambda label: moved(label, 0.01))
    assert check(kits) == []


# Values


def mr_like(_ct: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(5).integers(0, 900, (6, 24, 24)).astype(np.int16))
    image.SetSpacing(SPACING)
    return image


def test_not_ct_in_hu(kits):
    rewrite(kits / "case_00001" / "imaging.nii.gz", mr_like)
    finding = only(check(kits))
    assert (finding.case, finding.severity) == ("case_00001", "error")
    assert "HU" in finding.problem


def with_window(kits, low: float, high: float):
    return [dataclasses.replace(case, window=(low, high)) for case in find_cases(kits, TASK)]


def test_an_image_cut_to_a_window_need_not_look_like_hu(kits):
    for case in find_cases(kits, TASK):
        rewrite(case.ct, lambda ct: sitk.Clamp(ct, lowerBound=0, upperBound=250))
    assert [finding.severity for finding in check(kits)] == ["error", "error"]
    assert check_cases(with_window(kits, 0.0, 250.0), CUT_TASK) == []


@pytest.mark.parametrize(("window", "fits"), [((-0.5, 250.5), True), ((-200.0, 250.0), False), ((0.0, 300.0), False)])
def test_a_ct_that_was_cut_within_the_tasks_window_is_refused(window, fits, kits):
    """Its air would be as bright as fat or water."""
    for case in find_cases(kits, TASK):
        rewrite(case.ct, lambda ct: sitk.Clamp(ct, lowerBound=0, upperBound=250))
    findings = check_cases(with_window(kits, 0.0, 250.0), dataclasses.replace(TASK, window=window))
    assert [one.severity for one in findings] == ([] if fits else ["error", "error"])
    assert all("cut to 0 to 250 HU" in one.problem and "within 0 to 250 HU" in one.remedy for one in findings)


def test_a_ct_that_was_cut_within_the_tasks_window_and_does_not_say_so_is_refused(kits):
    """It has fat and soft tissue where they lie in HU, and nothing else tells it."""
    rewrite(kits / "case_00001" / "imaging.nii.gz", lambda ct: sitk.Clamp(ct, lowerBound=-120, upperBound=55))
    finding = only(check(kits))
    assert (finding.case, finding.severity) == ("case_00001", "error")
    assert "cut to -120 to 55 HU, and the model distinguishes -200 to 300 HU" in finding.problem
    assert "'window' in a cases.json" in finding.remedy
    assert check(kits, dataclasses.replace(TASK, window=(-120.0, 55.0))) == []


@pytest.mark.parametrize(
    ("values", "told"),
    [(lambda ct: ct + 300, "beyond"), (lambda ct: ct * 0 + 7, "little of")],
)
def test_a_window_that_the_values_contradict(kits, values, told):
    for case in find_cases(kits, TASK):
        rewrite(case.ct, lambda ct: sitk.Clamp(ct, lowerBound=0, upperBound=250))
    rewrite(kits / "case_00001" / "imaging.nii.gz", values)
    finding = only(check_cases(with_window(kits, 0.0, 250.0), CUT_TASK))
    assert (finding.case, finding.severity) == ("case_00001", "error")
    assert told in finding.problem


def test_a_label_that_was_interpolated(kits):
    rewrite(kits / "case_00001" / "segmentation.nii.gz", lambda label: sitk.Cast(label, sitk.sitkFloat32) * 0.5)
    problems = {finding.problem for finding in check(kits) if finding.severity == "error"}
    assert any("0.5" in problem and "no label has" in problem for problem in problems)


def test_two_patients_leave_none_to_test_on(kits):
    cases = find_cases(kits, TASK)
    findings = check_cases(cases, TASK, split=split_by_patient(cases))
    assert any("to measure the result on" in finding.problem for finding in findings if finding.severity == "warning")


def test_unknown_values_are_listed(kits):
    write_case(kits / "case_00007", 7, values=(1, 2, 4, 9))
    finding = only(check(kits))
    assert (finding.case, finding.severity) == ("case_00007", "error")
    assert "(4, 9)" in finding.problem


def test_values_that_are_no_whole_numbers(kits):
    rewrite(kits / "case_00000" / "segmentation.nii.gz", lambda label: sitk.Cast(label, sitk.sitkFloat32) * 0.5)
    first = check(kits)[0]
    assert first.severity == "error"
    assert "values (0.5)" in first.problem


def test_no_tumor_is_a_warning(kits):
    write_case(kits / "case_00007", 7, values=(1, 3))
    finding = only(check(kits))
    assert (finding.case, finding.severity, finding.problem) == (
        "case_00007",
        "warning",
        "The label file shows no tumor.",
    )


def test_no_tumor_is_no_news_where_nobody_looked_for_it(kits):
    write_case(kits / "case_00007", 7, values=(1,))
    labels = {1: ("kidney",), 2: ("liver", "liver tumor")}
    cases = [dataclasses.replace(case, labels=labels) for case in find_cases(kits, TASK)]
    assert not [finding for finding in check_cases(cases, ABDOMEN) if "shows no tumor" in finding.problem]


def test_an_empty_label_is_one_warning(kits):
    write_case(kits / "case_00007", 7, values=())
    finding = only(check(kits))
    assert (finding.case, finding.severity) == ("case_00007", "warning")
    assert "empty" in finding.problem


def test_thick_slices_whatever_the_order_of_the_axes(kits):
    spacing = (1.5, 1.25, 12.0)
    for number, order in enumerate([(0, 1, 2), (2, 1, 0)], start=5):
        folder = kits / f"case_{number:05}"
        folder.mkdir()
        ct = ct_image(number, spacing)
        for name, image in (("imaging", ct), ("segmentation", label_image(ct))):
            sitk.WriteImage(sitk.PermuteAxes(image, order), str(folder / f"{name}.nii.gz"))
    findings = check(kits)
    assert [(finding.case, finding.severity) for finding in findings] == [
        ("case_00005", "warning"),
        ("case_00006", "warning"),
    ]
    assert all("12 mm apart" in finding.problem for finding in findings)


def test_values_that_are_all_too_high(kits):
    shifted = kits / "case_00001" / "imaging.nii.gz"
    rewrite(shifted, lambda ct: ct + 60)
    finding = only(check(kits))
    assert (finding.case, finding.severity) == ("case_00001", "warning")
    assert "values seem to be too high" in finding.problem


def test_a_slice_that_is_missing_in_a_dicom_folder(tmp_path):
    case = tmp_path / "cases" / "one"
    case.mkdir(parents=True)
    write_series(case / "ct", stack(0, 2.5, 7.5, 10))
    label = sitk.Image(16, 12, 4, sitk.sitkUInt8)
    label[5:9, 5:9, 1:3] = 2
    label[9:11, 5:9, 1:3] = 1
    sitk.WriteImage(label, str(case / "label.nii.gz"))
    finding = only([finding for finding in check(tmp_path / "cases") if finding.case == "one"])
    assert finding.severity == "error"
    assert "5.00 mm lie between slice001.dcm and slice002.dcm" in finding.problem


def write_slicer_segmentation(folder: Path, names: dict[int, str], terminologies: Mapping[int, str] = {}) -> None:
    """A pair whose label has the segment names and codes that 3D Slicer stores."""
    folder.mkdir(parents=True)
    ct = ct_image(len(folder.name))
    sitk.WriteImage(ct, str(folder / "ct.nrrd"))
    label = label_image(ct)
    for number, (value, name) in enumerate(names.items()):
        label.SetMetaData(f"Segment{number}_LabelValue", str(value))
        label.SetMetaData(f"Segment{number}_Name", name)
        codes = terminologies.get(value, GENERIC)
        label.SetMetaData(f"Segment{number}_Tags", f"Segmentation.Status:inprogress|TerminologyEntry:{codes}|")
    sitk.WriteImage(label, str(folder / "label.seg.nrrd"))


def test_segments_in_another_order_than_the_task(tmp_path):
    write_slicer_segmentation(tmp_path / "anna", {1: "kidney", 2: "kidney tumor"})
    write_slicer_segmentation(tmp_path / "berta", {1: "kidney tumor", 2: "kidney"})
    findings = check(tmp_path)
    assert {(finding.case, finding.severity) for finding in findings} == {("berta", "error")}
    assert findings[0].problem == "The segment 'kidney tumor' has the value 1 in the file, which is taken for kidney."


def test_segments_whose_values_are_not_told(tmp_path):
    """As of old versions of Slicer: their order may be another than the task's."""
    write_slicer_segmentation(tmp_path / "anna", {1: "kidney", 2: "kidney tumor"})
    write_slicer_segmentation(tmp_path / "berta", {1: "kidney", 2: "kidney tumor"})
    file = tmp_path / "berta" / "label.seg.nrrd"
    file.write_bytes(re.sub(rb"Segment\d_LabelValue:=.*\n", b"", file.read_bytes()))
    finding = only(check(tmp_path))
    assert (finding.case, finding.severity) == ("berta", "error")
    assert "does not say which value its segment 'kidney' has" in finding.problem


@pytest.mark.parametrize(
    ("first", "second", "wrong"),
    [
        ("Tumor", "Kidney", "Tumor"),
        ("Kidney Tumor", "Kidney", "Kidney Tumor"),
        ("kidney_tumor", "kidneys", "kidney_tumor"),
        ("Tumor", "Niere", "Tumor"),
        ("Kidney", "Tumor", None),
        ("Niere", "Tumor", None),
        ("Segment_1", "Segment_2", None),
        ("cyst", "Complex mass", None),
    ],
)
def test_segment_names_in_the_users_own_words(first, second, wrong, tmp_path):
    write_slicer_segmentation(tmp_path / "anna", {1: "kidney", 2: "kidney tumor"})
    write_slicer_segmentation(tmp_path / "berta", {1: first, 2: second})
    findings = check(tmp_path)
    assert {(finding.case, finding.severity) for finding in findings} == ({("berta", "error")} if wrong else set())
    if wrong:
        assert findings[0].problem == f"The segment '{wrong}' has the value 1 in the file, which is taken for kidney."


def test_codes_of_segments_tell_of_another_order_where_names_do_not(tmp_path):
    kidney, tumor = (label.terminology for label in TASK.labels)
    for folder, codes in (("anna", {1: kidney, 2: tumor}), ("berta", {1: tumor, 2: kidney})):
        write_slicer_segmentation(tmp_path / folder, {1: "Segment_1", 2: "Segment_2"}, codes)
    findings = check(tmp_path)
    assert [(finding.case, finding.severity) for finding in findings] == [("berta", "error")] * 2
    assert findings[1].problem.startswith("The segment 'Segment_2' has the value 2")


@pytest.mark.parametrize(
    "labels",
    [{1: ("kidney", "kidney tumor"), 2: ()}, {1: ("kidney tumor",), 2: ("kidney",)}],
    ids=["open", "other order"],
)
def test_a_case_that_says_what_its_segments_are_is_believed(labels, tmp_path):
    write_slicer_segmentation(tmp_path / "anna", {1: "Tumor", 2: "Kidney"})
    cases = [dataclasses.replace(case, labels=labels) for case in find_cases(tmp_path, TASK)]
    assert check_cases(cases, TASK, together=False) == []


# All cases together


def test_duplicate_names(kits):
    first, second = find_cases(kits, TASK)
    finding = only(check_cases([first, dataclasses.replace(second, name=first.name)], TASK))
    assert (finding.case, finding.severity) == (first.name, "error")


def test_one_ct_under_two_patients_is_an_error_even_as_a_copy(kits):
    copy = kits / "case_00009"
    write_case(copy, 1)
    finding = only(check(kits))
    assert (finding.case, finding.severity) == ("case_00009", "error")
    assert "same as that of case case_00001" in finding.problem


def stored_otherwise(image: sitk.Image) -> sitk.Image:
    """The same image with its axes and voxels in another order."""
    return sitk.DICOMOrient(image, "SAR")


@pytest.mark.parametrize(
    "changed",
    [
        lambda ct: sitk.Cast(ct, sitk.sitkFloat32),
        lambda ct: sitk.Cast(ct, sitk.sitkFloat64) + 1e-4,
        lambda ct: sitk.Cast(ct, sitk.sitkInt32),
        stored_otherwise,
    ],
    ids=["single", "rounded", "int32", "another order of axes"],
)
def test_one_ct_under_two_patients_is_found_however_it_is_stored(changed, kits):
    original, copy = kits / "case_00001", write_case(kits / "case_00009", 1)
    rewrite(copy / "imaging.nii.gz", changed)
    if changed is stored_otherwise:
        rewrite(copy / "segmentation.nii.gz", changed)
    finding = only(check(kits))
    assert (finding.case, finding.severity) == (copy.name, "error")
    assert f"same as that of case {original.name}" in finding.problem


def test_one_ct_twice_of_the_same_patient_is_a_warning(kits):
    first, second = find_cases(kits, TASK)
    again = dataclasses.replace(first, name="again")
    finding = only(check_cases([first, second, again], TASK))
    assert (finding.case, finding.severity) == ("again", "warning")


def told_alike(kits: Path, names: Sequence[str], patients: Mapping[str, str] = {}) -> list[Finding]:
    """What is told of cases of these names together."""
    first = find_cases(kits, TASK)[0]
    cases = [dataclasses.replace(first, name=name, patient=patients.get(name, name)) for name in names]
    return [one for one in check_cases(cases, TASK) if one.case == ALL_CASES and one.severity == "warning"]


@pytest.mark.parametrize(
    "names",
    [
        ["P01_arterial", "P01_venous"],
        ["Smith-pre", "smith-post"],
        ["hcc_011_acq1", "hcc_011_acq2"],
        ["P01 2", "P01 native"],
        ["anna", "anna_followup"],
    ],
)
def test_scans_that_seem_to_be_of_one_patient_are_told(names, kits):
    finding = only(told_alike(kits, ["P02_arterial", "case_1", *names]))
    assert " and ".join(names) in finding.problem and "P02" not in finding.problem
    assert "taken for different patients" in finding.problem and "'patient' in a cases.json" in finding.remedy


@pytest.mark.parametrize(
    "names",
    [
        ["case_001", "case_002", "case_010"],
        ["CT", "CT (2)"],
        ["TCGA-DD-A4NJ", "TCGA-DD-A1EI"],
        ["UKE_A01", "UKE_A02"],
        ["anna", "bert"],
        [f"CT_{name}" for name in ("Adams", "Baker", "Clark", "Davis", "Evans", "Foster", "Green")],
    ],
)
def test_names_of_different_patients_are_no_news(names, kits):
    assert told_alike(kits, names) == []


def test_scans_whose_patient_was_given_are_no_news(kits):
    names = ["P01_arterial", "P01_venous", "P02_venous"]
    assert told_alike(kits, names, {"P01_arterial": "P01", "P01_venous": "P01"}) == []


def test_a_single_patient(kits):
    cases = [dataclasses.replace(case, patient="P1") for case in find_cases(kits, TASK)]
    finding = only(check_cases(cases, TASK))
    assert (finding.case, finding.severity) == (ALL_CASES, "error")


def test_labels_that_cannot_be_learned_from_these_cases(kits):
    problems = [finding.problem for finding in check(kits, ABDOMEN)]
    assert len(problems) == 2
    assert all(f"No case marks '{name}' by itself" in text for name, text in zip(("liver", "liver tumor"), problems))


def test_a_label_that_is_said_to_be_there_and_is_nowhere(tmp_path):
    for number in range(2):
        write_slicer_segmentation(tmp_path / ("a" * (number + 1)), {})
    cases = [
        dataclasses.replace(case, labels={1: ("kidney",), 2: (), 3: ("kidney tumor",)})
        for case in find_cases(tmp_path, TASK)
    ]
    findings = [finding for finding in check_cases(cases, TASK) if finding.case == ALL_CASES]
    assert [finding.severity for finding in findings] == ["warning", "warning"]
    assert "'kidney tumor' was looked for, but has no voxel" in findings[0].problem
    assert "values (2) stand for none" in findings[1].problem


@pytest.mark.parametrize(
    ("part", "consequence"),
    [
        ("train", "cannot be learned"),
        ("validation", "chosen without regard to it"),
        ("test", "not be known how well it is found"),
    ],
)
def test_a_part_whose_cases_show_no_tumor_is_told(part, consequence, tmp_path):
    for number in range(6):
        write_case(tmp_path / f"case_{number:05}", number, values=(1,) if number < 2 else (1, 2))
    cases = find_cases(tmp_path, TASK)
    others = [one for one in PARTS if one != part]

    def of_all_cases(first: int, second: int) -> list[Finding]:
        shares = {part: tuple(cases[:first]), others[0]: tuple(cases[first:second]), others[1]: tuple(cases[second:])}
        return [one for one in check_cases(cases, TASK, split=Split(**shares)) if one.case == ALL_CASES]

    finding = only(of_all_cases(2, 4))
    assert finding.severity == "warning" and "shows kidney tumor" in finding.problem and consequence in finding.problem
    assert of_all_cases(3, 4) == []


def test_a_split_that_cannot_be_trained_is_an_error_before_anything_is_begun(kits):
    first, second = find_cases(kits, TASK)

    def errors(split: Split) -> list[str]:
        return [one.problem for one in check_cases([first, second], TASK, split=split) if one.severity == "error"]

    assert errors(Split(train=(first,), validation=(second,), test=())) == []
    assert "no case to choose the best model with" in only(errors(Split(train=(first, second), validation=(), test=())))
    empty = sitk.ReadImage(str(first.label)) * 0
    sitk.WriteImage(empty, str(first.label))
    assert "nothing to learn" in only(errors(Split(train=(first,), validation=(second,), test=())))


def test_a_label_with_a_fourth_axis_of_one_is_that_of_its_volume(kits):
    """As some programs write them; the CT of such a pair is read, too."""
    case = find_cases(kits, TASK)[0]
    label = kits / "label.mha"
    sitk.WriteImage(sitk.JoinSeries(sitk.ReadImage(str(case.label))), str(label))
    assert sitk.ReadImage(str(label)).GetDimension() == 4
    findings = check_cases([dataclasses.replace(case, label=label), *find_cases(kits, TASK)[1:]], TASK)
    assert [one for one in findings if one.severity == "error"] == []


def test_contradicting_labels_of_a_case(kits):
    first, second = find_cases(kits, TASK)
    first = dataclasses.replace(first, labels={1: ("kidney", "kidney tumor"), 2: ("kidney tumor",)})
    finding = only(check_cases([first, second], TASK))
    assert (finding.case, finding.severity) == ("case_00000", "error")


def test_everything_is_listed_at_once(kits):
    (kits / "case_00000" / "imaging.nii.gz").write_text("")
    rewrite(kits / "case_00001" / "segmentation.nii.gz", lambda label: moved(label, 2.5)[:, :, :5])
    write_case(kits / "case_00007", 7, values=(1, 8))
    found = [(finding.case, finding.severity) for finding in check(kits)]
    assert found == [
        ("case_00000", "error"),
        ("case_00001", "error"),
        ("case_00001", "error"),
        ("case_00007", "error"),
        ("case_00007", "warning"),
    ]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_case_that_is_stored_mirrored_is_told(mirrored, tmp_path):
    """It would teach the network the wrong side, and be no fault that a segmentation of it shows."""
    stored = [image[::-1] if mirrored else image for image in blob_case(0)]
    ct, label = tmp_path / "ct.nii.gz", tmp_path / "label.nii.gz"
    for image, path in zip(stored, (ct, label)):
        image.SetDirection(np.eye(3).ravel())
        image.SetOrigin((0.0, 0.0, 0.0))
        sitk.WriteImage(image, str(path))
    case = Case("one", "one", ct, label, {1: ("liver",), 2: ("liver tumor",)})
    told = [finding for finding in check_cases([case], load_task("liver-tumor")) if "mirrored" in finding.problem]
    assert len(told) == mirrored
    assert all(one.severity == "warning" and "to the left of the body's middle" in one.problem for one in told)


def test_a_case_whose_slices_lost_their_order_is_told(tmp_path):
    """As of a stack of two series; the drawn label says nothing of it."""
    ct, label = blob_case(0, 8)
    voxels = sitk.GetArrayFromImage(ct)
    voxels[1::2] += 60
    mixed = sitk.GetImageFromArray(voxels)
    mixed.CopyInformation(ct)
    case = Case("one", "one", tmp_path / "ct.nii.gz", tmp_path / "label.nii.gz", {1: ("liver",), 2: ("liver tumor",)})
    for image, told in ((ct, 0), (mixed, 1)):
        sitk.WriteImage(image, str(case.ct))
        sitk.WriteImage(label, str(case.label))
        findings = check_cases([case], load_task("liver-tumor"))
        assert sum(one.severity == "warning" and "in the wrong order" in one.problem for one in findings) == told


@pytest.mark.parametrize(("factor", "told"), [(1, 0), (0.3, 1)])
def test_a_case_whose_body_is_too_narrow_is_told(factor, told, tmp_path):
    """Its spacing is wrong, most likely, and the network would learn organs of a wrong size."""
    case = Case("one", "one", tmp_path / "ct.nii.gz", tmp_path / "label.nii.gz", {1: ("liver",), 2: ("liver tumor",)})
    for image, path in zip(blob_case(0, 8), (case.ct, case.label)):
        image.SetSpacing([mm * factor for mm in image.GetSpacing()])
        sitk.WriteImage(image, str(path))
    findings = check_cases([case], load_task("liver-tumor"))
    assert sum(one.severity == "warning" and "may be wrong" in one.problem for one in findings) == told


def test_real_ct_and_labels_fit(data):
    folder = data / "volumes" / "totalseg_dicom20"
    labels = {1: ("liver", "liver tumor"), 5: ()}
    case = Case("one", "one", folder / "ct.nii.gz", folder / "label.nii.gz", labels)
    assert [finding for finding in check_cases([case], ABDOMEN) if finding.case == "one"] == []


# The table

FINDINGS = [
    Finding(
        "case_00000",
        "error",
        "The size of the CT is (24, 24, 6) voxels, and of the label (24, 24, 5) voxels.",
        "Fix it.",
    ),
    Finding("case_00001", "warning", 'No tumor, said "they".', "Nothing, if\nright."),
]


def test_table_fits_a_terminal_and_loses_no_word():
    text = findings_table(FINDINGS)
    lines = text.splitlines()
    assert lines[0].split() == ["case", "severity", "problem", "remedy"]
    assert max(map(len, lines)) <= 120
    for finding in FINDINGS:
        for part in dataclasses.astuple(finding):
            assert all(word in text for word in part.split())
    # Each column begins at the same place in every line.
    assert (
        lines[2].index("Fix")
        == lines[0].index("remedy")
        == next(line for line in lines if "00001" in line).index("Nothing")
    )


def test_csv_holds_the_findings(tmp_path):
    write_findings_csv(FINDINGS, tmp_path / "findings.csv")
    with (tmp_path / "findings.csv").open(newline="", encoding="utf-8") as file:
        assert [Finding(**row) for row in csv.DictReader(file)] == FINDINGS
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_findings_csv(FINDINGS, tmp_path / "file" / "findings.csv")


def test_the_table_of_findings_goes_when_all_is_mended(tmp_path):
    (tmp_path / "checks.csv").write_text("case")
    _show_and_refuse([], tmp_path / "checks.csv")
    assert not (tmp_path / "checks.csv").exists()


def test_a_cyst_that_a_case_counts_as_kidney_is_no_error_whatever_it_is_called(tmp_path):
    write_slicer_segmentation(tmp_path / "anna", {1: "kidney", 2: "kidney tumor", 3: "Benign mass"})
    labels = {1: ("kidney",), 2: ("kidney tumor",), 3: ("kidney",)}
    cases = [dataclasses.replace(case, labels=labels) for case in find_cases(tmp_path, TASK)]
    findings = check_cases(cases, TASK, together=False)
    assert [(finding.severity, finding.problem.split(" has ")[0]) for finding in findings] == [
        ("warning", "The segment 'Benign mass'")
    ]
