import dataclasses
import json
import logging
import math
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib.errors import CasesError
from HLFDSegmentationLib.tasks import Label, Task, load_task
from HLFDTrainingLib.annotations.ct_fingerprints import check_patients_named_alike, image_fingerprint
from HLFDTrainingLib.cases import (
    Case,
    case_groups,
    check_values_explained,
    classes_of,
    find_cases,
    target_values,
    write_cases_json,
)
from HLFDTrainingLib.split import Split, split_by_patient, split_onward

ABDOMEN = load_task("abdomen")
KIDNEY_TUMOR = load_task("kidney-tumor")
LIVER_TUMOR = load_task("liver-tumor")


def write(path: Path, values: tuple[int, ...] = (0, 1, 2)) -> Path:
    """A tiny image that holds the values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.resize(np.array(values, np.uint8), (2, 3, 4))
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


def write_kits(folder: Path, count: int = 2, label: str = "segmentation.nii.gz") -> Path:
    for number in range(count):
        write(folder / f"case_{number:05}" / "imaging.nii.gz")
        write(folder / f"case_{number:05}" / label)
    return folder


def write_lits(folder: Path, suffix: str = ".nii") -> Path:
    for number in (0, 10):
        write(folder / "Training Batch 1" / f"volume-{number}{suffix}")
        write(folder / "Training Batch 2" / f"segmentation-{number}{suffix}")
    return folder


def write_msd(folder: Path, labels: dict[str, str]) -> Path:
    names = ("liver_1", "liver_2")
    for name in names:
        write(folder / "imagesTr" / f"{name}.nii.gz")
        write(folder / "labelsTr" / f"{name}.nii.gz")
    training = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names]
    content = {"name": "Liver", "modality": {"0": "CT"}, "labels": labels, "training": training, "test": []}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def write_json(folder: Path, **entry) -> Path:
    """A cases.json with one case, changed by `entry`; None takes an entry away."""
    write(folder / "ct.nii.gz")
    write(folder / "label.nii.gz")
    case = {"name": "one", "ct": "ct.nii.gz", "label": "label.nii.gz", "labels": {"1": "liver"}} | entry
    case = {key: value for key, value in case.items() if value is not None}
    (folder / "cases.json").write_text(json.dumps({"cases": [case]}))
    return folder


def case(name: str, patient: str | None = None, labels=None) -> Case:
    return Case(name, patient or name, Path("ct.nii"), Path("label.nii"), labels or {1: ("liver",)})


# Layouts


def test_kits(tmp_path):
    first, second = find_cases(write_kits(tmp_path / "kits23" / "dataset").parent, KIDNEY_TUMOR)
    assert (first.name, second.name) == ("case_00000", "case_00001")
    assert first.patient == "case_00000"
    assert first.ct.parts[-2:] == ("case_00000", "imaging.nii.gz")
    assert first.label.parts[-2:] == ("case_00000", "segmentation.nii.gz")
    assert first.window is None
    assert case_groups(first, KIDNEY_TUMOR) == [0, 1, 2]
    assert target_values(first, KIDNEY_TUMOR) == {0: 0, 1: 1, 2: 2, 3: 1}  # a cyst belongs to the kidney


@pytest.mark.parametrize("other", ["aggregated_AND_seg.nii.gz", "segmentation.nii.gz"])
def test_kits21_takes_the_majority_of_the_annotators(other, tmp_path):
    write_kits(tmp_path, 1, "aggregated_MAJ_seg.nii.gz")
    write_kits(tmp_path, 1, other)
    assert [case.label.name for case in find_cases(tmp_path, KIDNEY_TUMOR)] == ["aggregated_MAJ_seg.nii.gz"]


def test_kits_knows_nothing_of_the_liver(tmp_path):
    [found] = find_cases(write_kits(tmp_path, 1), ABDOMEN)
    assert case_groups(found, ABDOMEN) == [0, 0, 2, 0, 4]
    assert target_values(found, ABDOMEN) == {0: 0, 1: 2, 2: 4, 3: 2}


@pytest.mark.parametrize("write_layout", [write_kits, write_lits])
def test_cases_behind_links_are_found_once(write_layout, tmp_path):
    cases = tmp_path / "cases"
    cases.mkdir()
    for folder in write_layout(tmp_path / "disk").iterdir():
        (cases / folder.name).symlink_to(folder)
    (cases / "again").symlink_to(cases)
    assert len(find_cases(cases, ABDOMEN)) == 2


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """Its cases would be missing without a word."""
    locked = write_kits(tmp_path) / "case_00001"
    scandir = os.scandir

    def refuse_locked(path):
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_locked)
    with pytest.raises(CasesError, match=r"case_00001 cannot be read \(Permission denied\)"):
        find_cases(tmp_path, KIDNEY_TUMOR)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_lits_over_several_folders(tmp_path, suffix):
    found = find_cases(write_lits(tmp_path, suffix), ABDOMEN)
    assert [(case.name, case.ct.name, case.label.name) for case in found] == [
        ("volume-0", f"volume-0{suffix}", f"segmentation-0{suffix}"),
        ("volume-10", f"volume-10{suffix}", f"segmentation-10{suffix}"),
    ]
    assert case_groups(found[0], ABDOMEN) == [0, 1, 0, 3, 0]
    assert target_values(found[0], ABDOMEN) == {0: 0, 1: 1, 2: 3}


def test_decathlon_labels_are_matched_by_name(tmp_path):
    found = find_cases(write_msd(tmp_path, {"0": "background", "1": "liver", "2": "cancer"}), ABDOMEN)
    assert [case.name for case in found] == ["liver_1", "liver_2"]
    assert all(case.ct.is_file() and case.label.is_file() for case in found)
    assert target_values(found[0], ABDOMEN) == {0: 0, 1: 1, 2: 3}


@pytest.mark.parametrize("tumor", ["Tumour", "cancer", "liver tumour", "Liver_Tumor", "lesions"])
def test_decathlon_words_for_a_tumor(tmp_path, tumor):
    [first, _] = find_cases(write_msd(tmp_path, {"0": "background", "1": tumor, "2": "Liver"}), LIVER_TUMOR)
    assert target_values(first, LIVER_TUMOR) == {0: 0, 1: 2, 2: 1}


def test_decathlon_structures_of_other_organs_are_background(tmp_path):
    [first, _] = find_cases(write_msd(tmp_path, {"0": "background", "1": "spleen", "2": "kidney"}), ABDOMEN)
    assert target_values(first, ABDOMEN) == {0: 0, 1: 0, 2: 2}
    assert case_groups(first, ABDOMEN) == [0, 0, 2, 0, 2]


@pytest.mark.parametrize("task", [LIVER_TUMOR, ABDOMEN])
def test_a_decathlon_organ_without_tumors_of_its_own_may_hold_them(task, tmp_path):
    [first, _] = find_cases(write_msd(tmp_path, {"0": "background", "1": "liver"}), task)
    assert first.labels == {1: ("liver", "liver tumor")}


def test_pairs_drawn_for_an_organ_alone_may_hold_its_tumors(tmp_path):
    liver_alone = dataclasses.replace(LIVER_TUMOR, labels=LIVER_TUMOR.labels[:1])
    for file in ("ct.nii.gz", "label.nii.gz"):
        write(tmp_path / "anna" / file)
    [found] = find_cases(tmp_path, ABDOMEN, pairs_task=liver_alone)
    assert found.labels == {1: ("liver", "liver tumor")}
    assert case_groups(found, ABDOMEN) == [0, 1, 0, 1, 0]


def test_pairs_of_a_task_in_another_language_are_known_by_the_codes(tmp_path):
    for file in ("ct.nii.gz", "label.nii.gz"):
        write(tmp_path / "anna" / file)
    [found] = find_cases(tmp_path, ABDOMEN, pairs_task=own_task("Nierentumor"))
    assert found.labels == {1: ("kidney",), 2: ("kidney tumor",)}


def test_a_code_that_two_organs_of_a_task_have_tells_neither(tmp_path):
    kidney = KIDNEY_TUMOR.labels[0]
    sides = tuple(dataclasses.replace(kidney, name=name, value=value) for value, name in ((2, "left"), (3, "right")))
    task = dataclasses.replace(LIVER_TUMOR, labels=(LIVER_TUMOR.labels[0], *sides))
    for file in ("ct.nii.gz", "label.nii.gz"):
        write(tmp_path / "anna" / file)
    [found] = find_cases(tmp_path, task, pairs_task=ABDOMEN)
    assert found.labels == {1: ("liver",), 2: (), 3: ("liver",), 4: ()}


def test_decathlon_tumor_of_an_unnamed_or_unclear_organ(tmp_path):
    with pytest.raises(CasesError, match=r"pancreas.*none of it is a label"):
        find_cases(write_msd(tmp_path, {"0": "background", "1": "pancreas", "2": "cancer"}), ABDOMEN)
    with pytest.raises(CasesError, match="whose tumor"):
        find_cases(write_msd(tmp_path, {"0": "background", "1": "liver", "2": "kidney", "3": "tumour"}), ABDOMEN)


@pytest.mark.parametrize(
    ("task", "organ", "others"),
    [
        (KIDNEY_TUMOR, "kidney", {"3": "cyst"}),
        (ABDOMEN, "kidney", {"3": "cyst", "4": "kidney"}),
        (LIVER_TUMOR, "liver", {"3": "hepatic vessel", "4": "liver tumor"}),
    ],
)
def test_a_tumor_beside_what_has_none_is_the_organs(task, organ, others, tmp_path):
    [first, _] = find_cases(write_msd(tmp_path, {"0": "background", "1": organ, "2": "tumour", **others}), task)
    assert (first.labels[1], first.labels[2]) == ((organ,), (f"{organ} tumor",))


@pytest.mark.parametrize("task", [LIVER_TUMOR, KIDNEY_TUMOR, ABDOMEN])
@pytest.mark.parametrize("other", ["liver", "pancreas"])
def test_a_tumor_among_several_organs_is_nobodys_whatever_the_task_knows(task, other, tmp_path):
    labels = {"0": "background", "1": other, "2": "tumor", "3": "kidney" if other == "liver" else "liver"}
    if task is KIDNEY_TUMOR and other == "pancreas":
        labels["3"] = "kidney"
    with pytest.raises(CasesError, match="not known whose tumor"):
        find_cases(write_msd(tmp_path, labels), task)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_own_pairs_have_the_values_of_the_task(tmp_path, suffix):
    for name in ("anna", "bert"):
        write(tmp_path / name / f"ct{suffix}")
        write(tmp_path / name / "label.seg.nrrd")
    found = find_cases(tmp_path, ABDOMEN)
    assert [(case.name, case.ct.name, case.label.name) for case in found] == [
        ("anna", f"ct{suffix}", "label.seg.nrrd"),
        ("bert", f"ct{suffix}", "label.seg.nrrd"),
    ]
    assert target_values(found[0], ABDOMEN) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}
    assert case_groups(found[0], ABDOMEN) == [0, 1, 2, 3, 4]


def test_own_pair_with_a_dicom_folder(tmp_path):
    write(tmp_path / "anna" / "label.nii.gz")
    (tmp_path / "anna" / "ct").mkdir()
    assert [case.ct.name for case in find_cases(tmp_path, ABDOMEN)] == ["ct"]


def test_own_pairs_in_capital_letters(tmp_path):
    write(tmp_path / "anna" / "CT.nii.gz")
    write(tmp_path / "anna" / "Label.nii.gz")
    write(tmp_path / "bert" / "label.nii.gz")
    (tmp_path / "bert" / "CT").mkdir()
    assert [(case.ct.name, case.label.name) for case in find_cases(tmp_path, ABDOMEN)] == [
        ("CT.nii.gz", "Label.nii.gz"),
        ("CT", "label.nii.gz"),
    ]


@pytest.mark.parametrize(
    "left", ["anna/CT/1.dcm", "anna/Label/x.png", ".cache/x.nii.gz", "__MACOSX/._ct.nii.gz", "notes/._x.nii.gz"]
)
def test_sources_beside_a_pair_and_what_systems_leave_are_no_cases(left, tmp_path):
    for file in ("ct.nii.gz", "label.nii.gz"):
        write(tmp_path / "anna" / file)
    (tmp_path / left).parent.mkdir()
    (tmp_path / left).touch()
    assert [(case.name, case.ct.name) for case in find_cases(tmp_path, ABDOMEN)] == [("anna", "ct.nii.gz")]


@pytest.mark.parametrize(
    "name",
    ["image.nii.gz", "ct.mhd", "CT.nhdr", "IM0001.DCM", "IM0001", "1.2.840.113619", "visit1/ct.nii.gz", "a/b/IM0001"],
)
def test_images_beside_own_pairs_that_are_none_are_named(tmp_path, name):
    """They would be missing in the training without a word."""
    for file in ("ct.nii.gz", "label.nii.gz"):
        write(tmp_path / "anna" / file)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").touch()
    assert len(find_cases(tmp_path, ABDOMEN)) == 1
    (tmp_path / "bert" / name).parent.mkdir(parents=True)
    (tmp_path / "bert" / name).touch()
    with pytest.raises(CasesError, match=rf"bert has no 'ct' and no 'label' file \({name}\)"):
        find_cases(tmp_path, ABDOMEN)


def test_loose_images_beside_own_pairs_are_named(tmp_path):
    for file in ("ct.nii.gz", "label.nii.gz"):
        write(tmp_path / "anna" / file)
    (tmp_path / "README").touch()
    assert len(find_cases(tmp_path, ABDOMEN)) == 1
    write(tmp_path / "bert_ct.nii.gz")
    with pytest.raises(CasesError, match=r"bert_ct\.nii\.gz lies in no folder of its own"):
        find_cases(tmp_path, ABDOMEN)


@pytest.mark.parametrize("run", ["run", "runs/first"])
def test_images_of_a_training_beside_own_pairs_are_passed_over(run, tmp_path):
    for file in ("ct.nii.gz", "label.nii.gz"):
        write(tmp_path / "anna" / file)
    write(tmp_path / run / "data" / "case_000" / "ct.nrrd")
    (tmp_path / run / "plan.json").touch()
    assert [case.name for case in find_cases(tmp_path, ABDOMEN)] == ["anna"]


def test_own_pair_that_is_incomplete_or_double_is_named(tmp_path):
    write(tmp_path / "anna" / "ct.nii.gz")
    write(tmp_path / "bert" / "label.nii.gz")
    with pytest.raises(CasesError, match=r"anna has no 'label' file, bert has no 'ct' file"):
        find_cases(tmp_path, ABDOMEN)
    write(tmp_path / "bert" / "ct.nii.gz")
    write(tmp_path / "anna" / "label.nii.gz")
    write(tmp_path / "anna" / "label.nrrd")
    with pytest.raises(CasesError, match=r"label\.nii\.gz, label\.nrrd"):
        find_cases(tmp_path, ABDOMEN)


def test_public_test_cases_are_left_out_and_counted(tmp_path, caplog):
    write_kits(tmp_path)
    write(tmp_path / "case_00210" / "imaging.nii.gz")
    with caplog.at_level(logging.WARNING):
        assert len(find_cases(tmp_path, KIDNEY_TUMOR)) == 2
    assert "1 CTs have no annotation" in caplog.text


@pytest.mark.parametrize("with_ct", [False, True])
def test_results_of_a_model_are_no_annotations(tmp_path, with_ct):
    """Even beside a CT with KiTS's name: the values of a result are the task's own."""
    write_kits(tmp_path)
    if not with_ct:
        (tmp_path / "case_00001" / "imaging.nii.gz").unlink()
    (tmp_path / "case_00001" / "segments.csv").touch()
    with pytest.raises(CasesError, match=r"case_00001.* is a result of 'hlfd segment' and no annotation"):
        find_cases(tmp_path, KIDNEY_TUMOR)


def test_annotations_without_ct_are_an_error(tmp_path):
    write_kits(tmp_path)
    (tmp_path / "case_00001" / "imaging.nii.gz").unlink()
    with pytest.raises(CasesError, match=r"without a CT beside them: 1, first .*case_00001"):
        find_cases(tmp_path, KIDNEY_TUMOR)


def test_the_same_case_in_two_folders_is_an_error(tmp_path):
    write_kits(tmp_path / "one")
    write_kits(tmp_path / "two")
    with pytest.raises(CasesError, match=r"case_0000. is there twice"):
        find_cases(tmp_path, KIDNEY_TUMOR)


def test_mixed_layouts_are_an_error(tmp_path):
    write_kits(tmp_path)
    write_lits(tmp_path)
    with pytest.raises(CasesError, match="mixes the layouts of KiTS and LiTS"):
        find_cases(tmp_path, ABDOMEN)


def test_nothing_found_lists_what_is_understood(tmp_path):
    write(tmp_path / "scan.nii.gz")
    with pytest.raises(CasesError) as raised:
        find_cases(tmp_path, ABDOMEN)
    for word in ("imaging.nii.gz", "volume-0.nii", "dataset.json", "NAME/ct.nii.gz", "cases.json"):
        assert word in str(raised.value)
    with pytest.raises(CasesError, match="does not exist"):
        find_cases(tmp_path / "nowhere", ABDOMEN)


def test_a_data_set_without_any_label_of_the_task(tmp_path):
    with pytest.raises(CasesError, match=r"kidney, kidney tumor.*'liver-tumor'"):
        find_cases(write_kits(tmp_path), LIVER_TUMOR)


def own_task(*tumors: str) -> Task:
    """A user's task in other words, with the same codes for the kidney."""
    kidney, tumor = KIDNEY_TUMOR.labels
    code = dataclasses.replace(kidney.type, meaning="Niere")
    labels: list[Label] = [dataclasses.replace(kidney, name="Niere", type=code)]
    labels += [dataclasses.replace(tumor, name=name, value=value) for value, name in enumerate(tumors, start=2)]
    return dataclasses.replace(KIDNEY_TUMOR, name="niere", labels=tuple(labels))


def test_an_organ_is_known_by_its_code_whatever_a_task_calls_it(tmp_path):
    [found] = find_cases(write_kits(tmp_path, 1), own_task("Nierentumor"))
    assert found.labels == {1: ("Niere",), 2: ("Nierentumor",), 3: ("Niere",)}


def test_tumors_are_part_of_the_organ_where_the_task_has_no_label_for_them(tmp_path):
    [found] = find_cases(write_kits(tmp_path, 1), own_task())
    assert found.labels == {1: ("Niere",), 2: ("Niere",), 3: ("Niere",)}


def test_a_task_with_several_tumors_must_say_which(tmp_path):
    with pytest.raises(CasesError, match=r"2 labels for tumors of the Niere.*cases\.json"):
        find_cases(write_kits(tmp_path), own_task("papillary", "clear cell"))


# cases.json


def test_cases_json(tmp_path):
    entry = {"patient": "P7", "window": [0, 250], "labels": {"1": ["liver", "liver tumor"], "5": []}, "repeat": 3}
    folder = write_json(tmp_path, **entry)
    [found] = find_cases(folder, ABDOMEN)
    assert found == Case(
        name="one",
        patient="P7",
        ct=folder / "ct.nii.gz",
        label=folder / "label.nii.gz",
        labels={1: ("liver", "liver tumor"), 5: ()},
        window=(0.0, 250.0),
        repeat=3,
    )
    assert [found] == find_cases(folder / "cases.json", ABDOMEN)
    assert case_groups(found, ABDOMEN) == [0, 1, 0, 1, 0]
    assert target_values(found, ABDOMEN) == {0: 0, 1: 1, 5: 0}


def test_cases_json_with_one_name_and_without_patient(tmp_path):
    [found] = find_cases(write_json(tmp_path), ABDOMEN)
    assert (found.patient, found.labels, found.window) == ("one", {1: ("liver",)}, None)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"ct": None}, r"case number 1: the entry 'ct' is missing"),
        ({"labels": None}, r"the entry 'labels' is missing"),
        ({"labels": {}}, r"what each voxel value"),
        ({"labels": {"liver": 1}}, r"case number 1: 'liver' under 'labels' must be a voxel value"),
        ({"labels": {"1": [["liver"]]}}, r"case number 1: '1' under 'labels' must have the name of a label"),
        ({"pateint": "p7"}, r"case number 1: there is no entry 'pateint'; there are name, .*patient"),
        ({"ct": 7}, r"case number 1: 'ct' must be text"),
        ({"labels": {"0": "liver"}}, r"voxel value, a whole number from 1 on"),
        ({"labels": {"1": "lever"}}, r"Case one: the task 'abdomen' has no label 'lever'\. Its labels are liver, kid"),
        (
            {"labels": {"1": ["liver", "liver tumor"], "2": "liver tumor"}},
            r"'liver tumor' stands under the values 1 and",
        ),
        (
            {"labels": {"1": ["liver", "liver tumor"], "2": ["liver tumor", "kidney"]}},
            r"'liver tumor' stands under the values 1 and 2",
        ),
        ({"window": [250, 0]}, r"lowest HU, highest HU"),
        ({"window": 250}, r"case number 1: 'window' must be a list"),
        ({"repeat": 0}, r"whole number"),
    ],
)
def test_wrong_entries_are_named(tmp_path, entry, message):
    with pytest.raises(CasesError, match=message):
        find_cases(write_json(tmp_path, **entry), ABDOMEN)


def test_a_case_whose_patient_is_null_is_refused(tmp_path):
    """All such cases would be of one patient called None."""
    file = write_json(tmp_path, patient="P1") / "cases.json"
    file.write_text(file.read_text().replace('"P1"', "null"))
    with pytest.raises(CasesError, match="'patient' must be text or a whole number"):
        find_cases(tmp_path, ABDOMEN)


@pytest.mark.parametrize(
    ("once", "twice", "message"),
    [
        ('"1": "liver"', '"1": "liver", "1": "liver tumor"', "the entry '1' is there twice"),
        ('"1": "liver"', '"1": "liver", "01": "liver tumor"', "the voxel value 1 is there twice under 'labels'"),
        ('"name": "one"', '"name": "one", "patient": "P1", "patient": "P2"', "the entry 'patient' is there twice"),
    ],
)
def test_entries_that_are_there_twice_are_named(tmp_path, once, twice, message):
    file = write_json(tmp_path) / "cases.json"
    assert file.read_text().count(once) == 1
    file.write_text(file.read_text().replace(once, twice))
    with pytest.raises(CasesError, match=message):
        find_cases(tmp_path, ABDOMEN)


@pytest.mark.parametrize("text", ["not JSON", "[]", "{}", '{"cases": []}', '{"cases": [3]}', "[" * 100_000])
def test_files_of_another_kind(tmp_path, text):
    (tmp_path / "cases.json").write_text(text)
    with pytest.raises(CasesError, match=r"cases\.json"):
        find_cases(tmp_path, ABDOMEN)


def test_a_ct_given_for_the_cases_is_told_as_no_text(tmp_path):
    (tmp_path / "ct.nii.gz").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(CasesError, match=r"it is no text"):
        find_cases(tmp_path / "ct.nii.gz", ABDOMEN)


def test_a_file_that_windows_has_saved_with_a_byte_order_mark(tmp_path):
    path = write_json(tmp_path) / "cases.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert find_cases(path, ABDOMEN)


def test_written_cases_are_read_back_from_another_folder(tmp_path):
    found = find_cases(write_kits(tmp_path / "kits"), ABDOMEN)
    cut = dataclasses.replace(found[0], window=(-40.0, 160.0), patient="P1", repeat=2)
    write_cases_json([cut, found[1]], tmp_path / "deep" / "down" / "cases.json")
    again = find_cases(tmp_path / "deep" / "down", ABDOMEN)
    assert [dataclasses.replace(case, ct=case.ct.resolve(), label=case.label.resolve()) for case in again] == [
        cut,
        found[1],
    ]
    assert str(tmp_path) not in (tmp_path / "deep" / "down" / "cases.json").read_text()
    assert [path.name for path in (tmp_path / "deep" / "down").iterdir()] == ["cases.json"]


def test_a_run_behind_a_link_finds_its_cases(tmp_path):
    """A data disk is often a link, and the system follows it before it goes up by '..'; Windows goes up before."""
    found = find_cases(write_kits(tmp_path / "home" / "kits"), ABDOMEN)
    (tmp_path / "disk" / "deep" / "data").mkdir(parents=True)
    (tmp_path / "home" / "data").symlink_to(tmp_path / "disk" / "deep" / "data")
    run = tmp_path / "home" / "data" / "run"
    run.mkdir()
    write_cases_json(found, run / "cases.json")
    for again in find_cases(run, ABDOMEN):
        assert all(path.is_file() and Path(os.path.normpath(path)).is_file() for path in (again.ct, again.label))


def test_values_that_only_the_task_explains_want_a_task(tmp_path):
    write(tmp_path / "pairs" / "anna" / "ct.nii.gz")
    write(tmp_path / "pairs" / "anna" / "label.nii.gz")
    with pytest.raises(CasesError, match=r"--task: .*liver-tumor \(1 liver, 2 liver tumor\)"):
        check_values_explained(tmp_path / "pairs")
    check_values_explained(write_kits(tmp_path / "kits"))
    write_cases_json(find_cases(tmp_path / "pairs", ABDOMEN), tmp_path / "pairs" / "cases.json")
    check_values_explained(tmp_path / "pairs")


# Values and groups


def test_one_label_under_two_values_and_two_under_one():
    cysts = case("a", labels={1: ("kidney",), 3: ("kidney",)})
    assert target_values(cysts, KIDNEY_TUMOR) == {0: 0, 1: 1, 3: 1}
    assert case_groups(cysts, KIDNEY_TUMOR) == [0, 1, 0]
    organs = case("b", labels={7: ("kidney tumor", "liver tumor"), 8: ("kidney", "liver")})
    assert target_values(organs, ABDOMEN) == {0: 0, 7: 3, 8: 1}
    assert case_groups(organs, ABDOMEN) == [0, 1, 1, 3, 3]


@pytest.mark.parametrize("labels", [{1: ("liver",), 2: ("liver tumor",)}, {2: ("liver tumor",), 1: ("liver",)}])
def test_values_stand_for_what_is_said_of_them_alone_in_any_order(labels):
    annotation = np.array([[[0, 1, 2, 3, 255]]], np.uint8)
    liver, tumor = (ABDOMEN.label(name).value for name in ("liver", "liver tumor"))
    assert classes_of(annotation, case("one", labels=labels), ABDOMEN).tolist() == [[[0, liver, tumor, 0, 0]]]


def test_real_kits_labels_become_kidney_and_tumor(data, tmp_path):
    source = data / "kits23_labels" / "case_00537.nii.gz"
    folder = tmp_path / "case_00537"
    folder.mkdir()
    (folder / "segmentation.nii.gz").symlink_to(source)
    (folder / "imaging.nii.gz").symlink_to(source)
    [found] = find_cases(tmp_path, ABDOMEN)
    values = set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(found.label)))).tolist())
    assert values > {0}
    assert {target_values(found, ABDOMEN)[value] for value in values} == {0, 2, 4}


# Split


def cohort(patients: int, cases_each: int = 2) -> list[Case]:
    return [case(f"case {p:02} {c}", f"patient {p:02}") for p in range(patients) for c in range(cases_each)]


def parts(split: Split) -> list[set[str]]:
    return [{case.patient for case in part} for part in (split.train, split.validation, split.test)]


@pytest.mark.parametrize("seed", range(5))
def test_every_patient_is_in_one_part(seed):
    cases = cohort(20)
    split = split_by_patient(cases, seed=seed)
    train, validation, test = parts(split)
    assert (len(train), len(validation), len(test)) == (14, 2, 4)
    assert not train & validation and not train & test and not validation & test
    assert sorted(case.name for part in (split.train, split.validation, split.test) for case in part) == [
        case.name for case in cases
    ]


def test_the_split_hangs_on_the_seed_and_not_on_the_order():
    cases = cohort(20)
    assert split_by_patient(cases, seed=4) == split_by_patient(cases[::-1], seed=4)
    assert parts(split_by_patient(cases, seed=4)) != parts(split_by_patient(cases, seed=5))


@pytest.mark.parametrize("seed", [0, 7])
def test_new_patients_are_divided_by_the_seed(seed):
    new, met = cohort(20), case("met", "met")
    split, alone = split_onward([met, *new], {"met": "train"}, seed=seed), split_by_patient(new, seed=seed)
    assert (split.test, split.validation) == (alone.test, alone.validation)
    assert met in split.train and split.seed == seed


def test_the_split_is_the_same_in_every_version():
    assert [case.name for case in split_by_patient(cohort(10, 1)).test] == ["case 00 0", "case 05 0"]


@pytest.mark.parametrize(("patients", "sizes"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (5, (3, 1, 1))])
def test_few_patients(patients, sizes):
    assert tuple(map(len, parts(split_by_patient(cohort(patients))))) == sizes


@pytest.mark.parametrize("fractions", [(0.7, 0.3, 0.0), (0.05, 0.05, 0.9), (0.0, 0.5, 0.5), (1.0, 0.0, 0.0)])
def test_other_fractions_leave_patients_to_learn_from_and_to_choose_with(fractions):
    train, validation, _ = parts(split_by_patient(cohort(4), fractions=fractions))
    assert train
    assert validation


def test_wrong_fractions_and_no_cases():
    for wrong in ((0.7, 0.7, 0.2), (math.nan, 0.2, 0.2), (0.7, 0.1, math.nan)):
        with pytest.raises(CasesError, match="add up to 1"):
            split_by_patient(cohort(3), fractions=wrong)
    with pytest.raises(CasesError, match="no cases"):
        split_by_patient([])


def test_a_stored_split_is_restored():
    cases = cohort(6)
    split = split_by_patient(cases, seed=9)
    stored = json.loads(json.dumps(split.to_dict()))
    assert stored["seed"] == 9
    assert Split.from_dict(stored, cases[::-1]) == split


def test_a_stored_split_of_other_cases_is_refused():
    cases = cohort(6)
    stored = split_by_patient(cases).to_dict()
    with pytest.raises(CasesError, match=r"1 cases, first new"):
        Split.from_dict(stored, [*cases, case("new")])
    with pytest.raises(CasesError, match=r"first case 00 1"):
        Split.from_dict(stored, [case for case in cases if case.name != "case 00 1"])
    one_patient = [dataclasses.replace(case, patient="same") for case in cases]
    with pytest.raises(CasesError, match="Patient same is in more than one part"):
        Split.from_dict(stored, one_patient)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_stored_split_that_lists_a_case_twice_is_refused(part):
    """Its figures would count twice."""
    cases = cohort(6)
    stored = split_by_patient(cases).to_dict()
    with pytest.raises(CasesError, match=f"first {stored[part][0]}"):
        Split.from_dict({**stored, part: [*stored[part], stored[part][0]]}, cases)


def test_a_ct_is_known_again_by_its_files_whatever_they_are_called(tmp_path):
    (tmp_path / "one.nii.gz").write_bytes(b"voxels")
    (tmp_path / "Other.NII.GZ").write_bytes(b"voxels")
    (tmp_path / "third.nii.gz").write_bytes(b"other voxels")
    one, other, third = (image_fingerprint(tmp_path / name) for name in ("one.nii.gz", "Other.NII.GZ", "third.nii.gz"))
    assert one == other != third
    for folder, names in (("a", "12"), ("b", "98"), ("c", "1")):
        (tmp_path / folder).mkdir()
        for content, name in zip((b"upper slice", b"lower slice"), names):
            (tmp_path / folder / name).write_bytes(content)
    assert image_fingerprint(tmp_path / "a") == image_fingerprint(tmp_path / "b") != image_fingerprint(tmp_path / "c")


def test_a_dicom_folder_is_known_again_when_a_system_has_left_a_file_in_it(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.dcm").write_bytes(b"one")
    (tmp_path / "b" / "._1.dcm").write_bytes(b"left by macOS")
    assert image_fingerprint(tmp_path / "a") == image_fingerprint(tmp_path / "b") is not None


@pytest.mark.parametrize("name", ["ct.nhdr", "ct.mhd", "ct.hdr", "CT.NHDR"])
def test_headers_that_two_cts_can_share_tell_no_ct(name, tmp_path):
    (tmp_path / name).write_text("ElementDataFile = ct.raw")
    assert image_fingerprint(tmp_path / name) is None


def test_what_is_not_there_tells_no_ct(tmp_path):
    assert image_fingerprint(tmp_path / "gone.nii.gz") is None
    (tmp_path / "empty").mkdir()
    assert image_fingerprint(tmp_path / "empty") is None


def test_a_ct_is_refused_only_where_its_patient_had_another_name():
    one, new = case("one", "patient 1"), case("new", "patient 2")
    fingerprints, met = {"one": "ct 1", "new": "ct 2"}, {"ct 1": "patient 1"}
    check_patients_named_alike([one, new], fingerprints, met)
    with pytest.raises(CasesError, match="Case one: its CT is that of patient 'patient 1'"):
        check_patients_named_alike([dataclasses.replace(one, patient="x"), new], fingerprints, met)
