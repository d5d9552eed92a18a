"""The gathered cases: whose they are, however and in whatever order they came."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from HLFDSegmentationLib.tasks import TASKS
from HLFDTrainingLib.annotations.segment_roles import SceneSegment
from HLFDTrainingLib.cases import ALL_CASES, Case
from HLFDTrainingLib.scene.case_list import CaseList
from HLFDTrainingLib.scene.patient_aliases import with_aliases
from HLFDTrainingLib.scene.scene_cases import case_rows
from HLFDTrainingLib.scene.scene_pairs import SceneImage, SceneSegmentation

TASK = TASKS["liver-tumor"]


def image(number: int, patient: str = "", patient_id: str = "", name: str = "") -> SceneImage:
    return SceneImage(f"ct{number}", name or f"CT {number}", patient, patient_id, shape=(4, 4, 4))


def segmentation(number: int) -> SceneSegmentation:
    segments = tuple(SceneSegment(name, name) for name in ("liver", "tumor"))
    return SceneSegmentation(f"seg{number}", f"seg {number}", segments, reference_image_id=f"ct{number}")


def add(cases: CaseList, *images: SceneImage) -> None:
    """Cases that come together, each with a segmentation drawn on it."""
    assert cases.add(case_rows(images, [segmentation(int(one.id[2:])) for one in images], TASK)) == len(images)


def patients(cases: CaseList) -> list[str]:
    return [row.patient for row in cases.rows]


def warnings(cases: CaseList, index: int) -> str:
    return " ".join(problem.sentence for problem in cases.problems(index))


def file_case(name: str, ct: str, label: str, patient: str = "") -> Case:
    return Case(name, patient or name, Path(ct), Path(label), {1: ("liver",), 2: ("liver tumor",)})


def test_one_id_is_one_patient_however_the_name_is_written_and_whenever_it_comes():
    cases = CaseList()
    add(cases, image(0, "Mueller^Eva", "4711"))
    add(cases, image(1, "MUELLER^EVA", "4711"))
    assert patients(cases) == ["Mueller^Eva"] * 2


def test_a_ct_that_is_called_as_its_patient_is_no_other_patient_where_its_name_is_used():
    cases = CaseList()
    add(cases, image(0, "Mustermann", "4711", name="Mustermann"))
    add(cases, image(1, "Mustermann", "4711", name="Mustermann"))
    assert [row.name for row in cases.rows] == ["Mustermann", "Mustermann (2)"]
    assert patients(cases) == ["Mustermann"] * 2


def test_a_namesake_who_comes_later_is_another_patient_and_further_cts_find_theirs():
    cases = CaseList()
    add(cases, image(0, "Smith^John", "1111"))
    add(cases, image(1, "Smith^John", "2222"), image(2, "Smith^John", "1111"))
    add(cases, image(3, "Smith^John", "3333"))
    assert patients(cases) == ["Smith^John", "Smith^John (2222)", "Smith^John", "Smith^John (3333)"]
    assert "different IDs" in warnings(cases, 1)


def test_a_ct_that_is_chosen_brings_its_patient_but_for_one_that_the_user_named():
    cases = CaseList()
    add(cases, image(0, "Mustermann", "4711"))
    assert cases.add(case_rows([], [segmentation(1), segmentation(2)], TASK)) == 2
    cases.set_patient(2, "P-007")
    for index in (1, 2):
        cases.set_image(index, image(index, "Mustermann", "4711"))
    assert patients(cases) == ["Mustermann", "Mustermann", "P-007"]
    assert cases.rows[0].part == cases.rows[1].part
    assert "patient ID" in warnings(cases, 2) and "patient ID" in warnings(cases, 0)


def test_patients_that_are_told_after_the_cases_came_count():
    cases = CaseList()
    add(cases, *(image(number) for number in range(4)))
    assert len(set(patients(cases))) == 4
    for index in range(2):
        row = cases.rows[index]
        assert cases.update(index, replace(row.image, patient="Mustermann", patient_id="4711"), row.segmentation)
    assert patients(cases) == ["Mustermann", "Mustermann", "CT 2", "CT 3"]
    assert cases.rows[0].part == cases.rows[1].part


def test_a_patient_named_as_a_case_follows_it_where_the_name_is_used():
    cases = CaseList()
    assert cases.add_files([file_case("p0", "a/ct.nrrd", "a/label.nrrd")]) == 1
    more = [file_case("p0", "b/ct.nrrd", "b/label.nrrd"), file_case("p0 later", "c/ct.nrrd", "c/label.nrrd", "p0")]
    assert cases.add_files(more) == 2
    assert [row.name for row in cases.rows] == ["p0", "p0 (2)", "p0 later"]
    assert patients(cases) == ["p0", "p0 (2)", "p0 (2)"]


def test_the_annotation_of_the_first_reader_stays_that_of_the_case():
    cases = CaseList()
    readers = [file_case("one", "ct.nrrd", "first.nrrd"), file_case("two", "ct.nrrd", "second.nrrd", "one")]
    assert cases.add_files(readers) == 1
    assert cases.add_files(readers[1:]) == 0
    [case] = cases.file_cases().values()
    assert (case.name, case.label) == ("one", Path("first.nrrd"))
    cases.remove([0])
    assert cases.add_files(readers[1:]) == 1
    [case] = cases.file_cases().values()
    assert case.label == Path("second.nrrd")


def test_a_patient_stays_where_it_was_moved_when_it_is_named_and_not_when_its_scene_is_closed():
    cases = CaseList()
    add(cases, *(image(number) for number in range(6)))
    index = next(index for index, row in enumerate(cases.rows) if row.part == "train")
    assert not cases.moved_by_hand
    cases.move(index, "test")
    cases.set_patient(index, "P-001")
    assert cases.rows[index].part == "test" and cases.moved_by_hand
    cases.forget(range(6))
    add(cases, *(image(number) for number in range(6)))
    cases.set_patient(index, "P-001")
    assert cases.rows[index].part == "train"


def test_a_case_keeps_its_name_where_the_new_one_is_empty():
    cases = CaseList()
    add(cases, image(0))
    cases.rename(0, " ")
    assert cases.rows[0].name == "CT 0"


def test_drawing_and_renaming_a_ct_leave_the_patients_as_they_are():
    cases = CaseList()
    add(cases, image(0, "Anna", "1"), image(1, "Anna", "2"), image(2, "Anna"), image(3, "Anna"))
    cases.set_patient(1, "Anna (1)")
    cases.set_patient(3, "")
    cases.move(0, "test")
    before = [(row.patient, row.part) for row in cases.rows]
    for index, row in enumerate(cases.rows):
        assert cases.update(index, replace(row.image, name="renamed"), replace(row.segmentation, name="drawn on"))
    assert [(row.patient, row.part) for row in cases.rows] == before
    assert before[0] == before[1] == ("Anna (1)", "test")


def test_a_segmentation_that_is_found_later_for_a_ct_of_the_table_may_be_a_guess():
    cases = CaseList()
    assert cases.add(case_rows([image(0, name="Smith")], [], TASK)) == 1
    later = replace(segmentation(0), name="Smith seg", reference_image_id=None)
    assert cases.add(case_rows([image(0, name="Smith")], [later], TASK)) == 1
    assert "similar name" in warnings(cases, 0)
    cases.set_image(0, cases.rows[0].image)
    assert "similar name" not in warnings(cases, 0)


def test_a_renamed_case_lends_its_patient_to_no_other_one():
    cases = CaseList()
    add(cases, image(0, name="CT"))
    cases.rename(0, "pancreas 1")
    add(cases, image(1, name="CT"))
    assert len(set(patients(cases))) == 2


def test_a_chosen_ct_of_another_patient_is_never_taken_for_the_former_one():
    cases = CaseList()
    add(cases, image(0, "Anna", "1"), image(1, "ANNA^", "1"), image(2, "Carl", "3"))
    assert patients(cases) == ["Anna", "Anna", "Carl"]
    cases.rename(2, "renamed")
    cases.set_image(1, image(4, "Carl", "3"))
    assert patients(cases) == ["Anna", "Carl", "Carl"]


def test_who_is_named_as_another_patient_joins_that_one_where_it_is():
    cases = CaseList()
    add(cases, *(image(number) for number in range(8)))
    for index in range(3):
        cases.set_patient(index, "Yvonne")
    part = cases.rows[0].part
    other = "train" if part == "test" else "test"
    cases.move(7, other)
    cases.set_patient(7, "Yvonne")
    assert {row.part for row in cases.rows if row.patient == "Yvonne"} == {part}


def test_a_move_follows_a_patient_whom_the_scene_names_later():
    cases = CaseList()
    add(cases, *(image(number) for number in range(8)))
    index = next(index for index, row in enumerate(cases.rows) if row.part == "train")
    cases.move(index, "test")
    row = cases.rows[index]
    cases.update(index, replace(row.image, patient="Anna", patient_id="1"), row.segmentation)
    assert (cases.rows[index].patient, cases.rows[index].part) == ("Anna", "test")


def in_files(*images: SceneImage) -> list[str]:
    cases = CaseList()
    add(cases, *images)
    return [row.patient for row in with_aliases(cases.rows)]


def test_a_patients_number_in_files_hangs_on_the_id_alone_and_no_name_is_written():
    [alone] = in_files(image(0, "Doe", "1"))
    [other_spelling] = in_files(image(0, "DOE^", "1"))
    beside = in_files(image(0, "Doe", "2"), image(1, "Doe", "1"), image(2, "Doe"))
    assert alone == other_spelling == beside[1]
    assert len(set(beside)) == 3 and "Doe" not in "".join(beside)


def test_whom_the_user_joins_to_a_patient_gets_that_ones_number_and_an_own_name_stays():
    [anna, doe] = in_files(image(0, "Anna", "1"), image(1, "Doe", "2"))
    cases = CaseList()
    add(cases, image(0, "Anna", "1"), image(1, "Doe", "2"), image(2), image(3), image(4, "Carl", "3"))
    cases.set_patient(2, "Anna")
    cases.set_patient(3, "Doe")
    cases.set_patient(4, "P-007")
    add(cases, image(5, "Carl", "3"))
    assert [row.patient for row in with_aliases(cases.rows)] == [anna, doe, anna, doe, "P-007", "P-007"]


def test_whom_the_user_joins_to_a_namesake_gets_that_ones_number():
    [first], [second] = in_files(image(0, "Doe", "1")), in_files(image(1, "Doe", "2"))
    cases = CaseList()
    add(cases, image(0, "Doe", "1"), image(1, "Doe", "2"), image(2))
    assert len(set(patients(cases)[:2])) == 2
    cases.set_patient(2, patients(cases)[1])
    assert [row.patient for row in with_aliases(cases.rows)] == [first, second, second]


def test_a_name_that_the_user_made_of_a_patients_is_written_into_no_file():
    cases = CaseList()
    add(cases, image(0, "Meyer", "1"), image(1))
    cases.set_patient(0, "Meyer before surgery")
    cases.set_patient(1, "MRN Meyer")
    assert "Meyer" not in "".join(row.patient for row in with_aliases(cases.rows))


def test_an_id_of_the_scene_that_stands_in_names_of_files_renames_nobody():
    cases = CaseList()
    add(cases, image(0, "Doe", "0001"))
    cases.add_files([file_case("case_00018", "a/ct.nrrd", "a/label.nrrd")])
    [doe, of_file] = [row.patient for row in with_aliases(cases.rows)]
    assert doe.startswith("patient-") and of_file == "case_00018"


def test_a_patient_of_a_scene_and_of_a_run_is_moved_as_one():
    [alias] = in_files(image(0, "Anna", "1"))
    cases = CaseList()
    add(cases, image(0, "Anna", "1"), *(image(number) for number in range(2, 9)))
    part = "test" if cases.rows[0].part != "test" else "train"
    cases.move(0, part)
    add(cases, replace(image(1, alias), of_run=True))
    assert [cases.rows[index].part for index in (0, -1)] == [part, part]


def test_of_one_segment_name_in_two_spellings_the_last_choice_holds():
    cases = CaseList()
    add(cases, image(0), image(1))
    cases.set_role("Tumor", "liver")
    cases.set_role("tumor", "liver tumor")
    cases.set_role("TUMOR", "liver")
    cases.set_role("tumor", "liver tumor")
    add(cases, image(2))
    assert cases.segment_roles()["tumor"] == "liver tumor"


def told_together(cases: CaseList) -> str:
    return " ".join(problem.sentence for problem in cases.problems_together())


def test_scans_in_a_scene_that_seem_to_be_of_one_patient_are_told_until_they_share_their_patient():
    """Of NIfTI and NRRD files a scene does not know the patients; one scan was learned from and the other tested on."""
    cases = CaseList()
    add(cases, *(image(number, name=name) for number, name in enumerate(["P01_arterial", "P01_venous", "P02_venous"])))
    assert "P01_arterial and P01_venous" in told_together(cases) and "P02" not in told_together(cases)
    for index in (0, 1):
        cases.set_patient(index, "P01")
    assert "P01_arterial" not in told_together(cases)


def test_scans_whose_patients_the_scene_knows_are_no_news():
    cases = CaseList()
    add(cases, image(0, "P01_arterial", "1", name="P01_arterial"), image(1, "P01_venous", "2", name="P01_venous"))
    assert "last part" not in told_together(cases)


def test_what_the_check_of_files_says_of_names_is_told_once():
    cases = CaseList()
    cases.add_files([file_case(name, f"{name}/ct.nrrd", f"{name}/label.nrrd") for name in ("P1_pre", "P1_post")])
    before = told_together(cases)
    cases.findings = {ALL_CASES: [one for one in cases.problems_together() if "last part" in one.sentence]}
    assert told_together(cases) == before and before.count("last part") == 1
