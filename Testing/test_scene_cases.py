"""The table of cases from the scene: pairs, roles, checks and parts as a radiologist sees them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from HLFDSegmentationLib.tasks import KIDNEY, TASKS, Label, Task
from HLFDTrainingLib.annotations.segment_roles import SceneSegment, guess_roles
from HLFDTrainingLib.scene.scene_cases import NOT_USED, case_rows, move_patient, remember_roles
from HLFDTrainingLib.scene.scene_checks import check_row, check_rows
from HLFDTrainingLib.scene.scene_pairs import SceneImage, SceneSegmentation, suggest_pairs
from HLFDTrainingLib.split import parts_by_patient

ABDOMEN, LIVER, KIDNEYS = TASKS["abdomen"], TASKS["liver-tumor"], TASKS["kidney-tumor"]
BOX = (0.0, 300.0, 0.0, 300.0, 0.0, 200.0)
INNER = (50.0, 150.0, 50.0, 150.0, 50.0, 150.0)
FAR = (900.0, 950.0, 50.0, 150.0, 50.0, 150.0)


def ct(id_: str, name: str | None = None, **entries) -> SceneImage:
    return SceneImage(id_, name or f"CT {id_}", shape=(40, 64, 64), **entries)


def seg(id_: str, name: str | None = None, *segments: SceneSegment, **entries) -> SceneSegmentation:
    return SceneSegmentation(id_, name or f"Segmentation {id_}", segments, **entries)


def drawn(*names: str, empty: tuple[str, ...] = ()) -> tuple[SceneSegment, ...]:
    return tuple(SceneSegment(name, name, empty=name in empty) for name in names)


def paired(images, segmentations) -> list[tuple[str | None, str | None]]:
    return [(pair.image_id, pair.segmentation_id) for pair in suggest_pairs(images, segmentations)]


# Pairs


def test_segmentation_goes_to_the_ct_that_it_was_drawn_on_whatever_the_names_say():
    images = [ct("a", "patient 1"), ct("b", "patient 2")]
    segmentations = [seg("s", "patient 1", reference_image_id="b")]
    assert paired(images, segmentations) == [("a", None), ("b", "s")]
    assert "drawn on this CT" in suggest_pairs(images, segmentations)[1].reason


@pytest.mark.parametrize(
    ("image", "segmentation"),
    [
        ("volume-12", "segmentation-12"),
        ("case_00012_imaging", "case_00012_segmentation"),
        ("Smith CT portal", "Smith liver tumor annotation"),
        ("P014", "p14 seg"),
    ],
)
def test_names_bring_together_what_belongs_together(image, segmentation):
    images = [ct("other", "volume-1"), ct("right", image), ct("another", "case_00120_imaging")]
    assert ("right", "s") in paired(images, [seg("s", segmentation)])


def test_study_decides_and_another_study_excludes():
    images = [ct("a", "Smith", study="1.2"), ct("b", study="1.3")]
    assert paired(images, [seg("s", "Smith", study="1.3")]) == [("a", None), ("b", "s")]


def test_another_patient_excludes():
    images = [ct("a", "follow-up", patient_id="P1")]
    assert paired(images, [seg("s", "follow-up", patient_id="P2")]) == [("a", None), (None, "s")]


def test_place_decides_between_equal_names_and_excludes_what_lies_elsewhere():
    images = [ct("a", "Smith scan", bounds=FAR), ct("b", "Smith scan", bounds=BOX)]
    assert paired(images, [seg("s", "Smith annotation", bounds=INNER)]) == [("a", None), ("b", "s")]


def test_a_segmentation_of_which_the_ct_holds_but_two_thirds_is_not_paired_with_it():
    beyond = (200.0, 350.0, 50.0, 150.0, 50.0, 150.0)
    images, segmentations = [ct("a", "Smith", bounds=BOX)], [seg("s", "Smith", bounds=beyond)]
    assert paired(images, segmentations) == [("a", None), (None, "s")]


def test_place_alone_pairs_nobody_as_bodies_lie_in_one_place():
    """The CT of another patient may be the only one that is left."""
    images = [ct("a", "Miller", bounds=BOX)]
    *_, open_ = suggest_pairs(images, [seg("s", "Smith annotation", bounds=INNER)])
    assert (open_.image_id, open_.segmentation_id) == (None, "s")
    assert "Choose the one that it was drawn on" in open_.reason


def test_numbers_that_slicer_adds_in_the_order_of_loading_pair_nobody():
    images = [ct(name, name, bounds=BOX) for name in ("ct", "ct_1", "ct_2")]
    segmentations = [seg(name, name, bounds=INNER) for name in ("label", "label_1", "label_2")]
    assert all(None in pair for pair in paired(images, segmentations))


def test_numbers_of_patients_pair_also_where_slicer_has_added_one():
    images = [ct("a", "liver_0"), ct("b", "liver_1")]
    assert paired(images, [seg("s", "liver_1_1"), seg("t", "liver_0_1")]) == [("a", "t"), ("b", "s")]


def test_cts_that_fit_equally_well_are_left_to_the_user():
    images = [ct("a", "Smith arterial", study="1"), ct("b", "Smith venous", study="1")]
    *_, open_ = suggest_pairs(images, [seg("s", "Smith", study="1")])
    assert (open_.image_id, open_.segmentation_id) == (None, "s")
    assert "Smith arterial" in open_.reason and "Smith venous" in open_.reason


def test_two_segmentations_of_one_ct_are_left_to_the_user():
    segmentations = [seg("s", "manual", reference_image_id="a"), seg("t", "predicted", reference_image_id="a")]
    [pair] = suggest_pairs([ct("a")], segmentations)
    assert pair.segmentation_id is None
    assert "manual" in pair.reason and "predicted" in pair.reason


def test_ct_that_has_its_segmentation_is_not_offered_to_another_one():
    images = [ct("a", "Smith 1", study="1"), ct("b", "Smith 2", study="1")]
    segmentations = [seg("s", reference_image_id="a"), seg("t", "anything", study="1")]
    assert paired(images, segmentations) == [("a", "s"), ("b", "t")]


def test_segmentation_drawn_on_mr_says_so():
    images = [ct("a"), ct("m", "T2 axial", is_ct=False)]
    *_, open_ = suggest_pairs(images, [seg("s", reference_image_id="m")])
    assert open_.image_id is None and "T2 axial" in open_.reason
    assert "m" not in {pair.image_id for pair in suggest_pairs(images, [])}


# Roles


def role(name: str, task: Task = ABDOMEN, terminology: str = "", beside: tuple[str, ...] = ()) -> str | None:
    segment = SceneSegment("it", name, terminology)
    return guess_roles([segment, *drawn(*beside)], task)["it"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Liver", "liver"),
        ("hepatic parenchyma", "liver"),
        ("left kidney", "kidney"),
        ("Kidneys", "kidney"),
        ("kidney_right", "kidney"),
        ("liver tumour", "liver tumor"),
        ("LiverTumor", "liver tumor"),
        ("livertumor", "liver tumor"),
        ("HCC", "liver tumor"),
        ("HCC segment 7", "liver tumor"),
        ("renal mass", "kidney tumor"),
        ("RCC left", "kidney tumor"),
        ("liver mets", "liver tumor"),
        ("Hepatic metastases 2", "liver tumor"),
        ("kidney cyst", "kidney"),
        ("HCC liver lesion seg 4", "liver tumor"),
        ("liver tumor 2", "liver tumor"),
        ("left kidney tumor", "kidney tumor"),
        ("HCC VII", "liver tumor"),
        ("liver lesion A (final)", "liver tumor"),
        ("liver without tumor", "liver"),
        ("non-tumor liver", "liver"),
        ("liver w/o tumor", "liver"),
        ("Liver W/O Tumor", "liver"),
        ("tumor-free liver", "liver"),
        ("liver, not tumor", "liver"),
        ("liver without any liver tumor", "liver"),
        ("Liver lesion 2 (not biopsied)", None),
        ("tumor, not liver", None),
        ("kidney tumor sin.", None),
        ("non-enhancing kidney tumor", None),
        ("liver tumor new/main", "liver tumor"),
        ("renal cell carcinoma", "kidney tumor"),
        ("papillary RCC", "kidney tumor"),
        ("HCC nodule", "liver tumor"),
        ("largest HCC", "liver tumor"),
        ("HCC biopsy proven", "liver tumor"),
        ("kidney tumor upper pole", "kidney tumor"),
        ("liver_wo_tumor", "liver"),
        ("liver wo HCC", "liver"),
        ("normal liver", "liver"),
        ("liver parenchyma", "liver"),
        ("healthy kidney tissue", "kidney"),
        ("liver tumor, no cyst", None),
        ("RCC no mets", None),
        ("liver lesion (not cyst)", None),
        ("Lesion 2 (not HCC)", None),
        ("HCC free margin", None),
        ("liver - tumor", None),
        ("liver+tumor", None),
        ("liver und Tumor", None),
        ("renal oncocytoma", None),
        ("kidney AML", None),
        ("hepatic adenoma", None),
        ("liver Metastase", None),
        ("liver nodule", None),
        ("no liver", None),
        ("outside liver", None),
        ("liver bounding box", None),
        ("liver ROI", None),
        ("kidney stone", None),
        ("liver w/ tumor", None),
        ("liver + tumor", None),
        ("liver tumor bed", None),
        ("ablation margin of liver tumor", None),
        ("liver tumor old", None),
        ("Segment_1", None),
        ("hepatic vein", None),
        ("renal artery", None),
        ("portal vein and liver", None),
        ("adrenal mass", None),
        ("lung metastasis", None),
        ("liver with tumor", None),
        ("cyst", None),
        ("", None),
        ("Leber", None),
    ],
)
def test_names_tell_the_role(name, label):
    assert role(name) == label


def test_tumor_without_organ_belongs_to_the_only_organ_shown():
    assert role("tumor") is None
    assert role("tumor", beside=("kidney",)) == "kidney tumor"
    assert role("lesion 1", beside=("liver", "left kidney")) is None
    assert role("tumor", task=LIVER) == "liver tumor"


@pytest.mark.parametrize(
    "name", ["not a tumor", "Leber ohne Tumor", "tumor bed", "tumor margin 5 mm", "sin tumor", "peritumoral edema"]
)
def test_what_only_speaks_of_a_tumor_is_none(name):
    assert role(name, task=LIVER, beside=("liver",)) is None


def test_what_may_be_a_tumor_must_be_said_and_what_is_without_one_need_not():
    rows = case_rows(*scene(segments=drawn("Liver", "Lesion A", "tumor bed", "Leber ohne Tumor")), LIVER)
    errors = sentences(check_row(rows[0], rows, LIVER), "error")
    assert "'tumor bed'" in errors and "ohne" not in errors
    assert "'Leber ohne Tumor'" in sentences(check_row(rows[0], rows, LIVER), "warning")


@pytest.mark.parametrize(
    "name",
    ["Lesion 2 (not biopsied)", "Lesion 2 (not HCC)", "tumor not sure", "tumor sin.", "liver oncocytoma", "liver AML"],
)
def test_a_tumor_of_which_something_else_is_denied_must_be_said(name):
    rows = case_rows(*scene(segments=drawn("Liver", "Lesion A", name)), LIVER)
    assert f"'{name}'" in sentences(check_row(rows[0], rows, LIVER), "error")


def test_tumor_of_an_organ_that_the_task_does_not_have_is_none_of_its_labels():
    assert role("kidney tumor", task=LIVER) is None
    assert role("HCC", task=KIDNEYS) is None


@pytest.mark.parametrize("label", ABDOMEN.labels, ids=lambda label: label.name)
def test_codes_that_hlfd_gives_are_understood_whatever_the_name(label):
    assert role("Segment_3", terminology=label.terminology) == label.name


def coded(type_: str, region: str = "^^", modifier: str = "^^") -> str:
    category = "SCT^49755003^Morphologically Altered Structure"
    return f"DICOM master list~{category}~{type_}~{modifier}~Anatomic codes~{region}~^^"


@pytest.mark.parametrize(
    ("terminology", "name", "label"),
    [
        (coded("SCT^86049000^Neoplasm, Primary", "SCT^64033007^Kidney"), "a", "kidney tumor"),
        (coded("SCT^14799000^Neoplasm, Secondary", "SCT^10200004^Liver"), "a", "liver tumor"),
        (coded("SCT^64033007^Kidney", modifier="SCT^7771000^Left"), "a", "kidney"),
        (coded("SCT^18639004^Left kidney"), "a", "kidney"),
        (coded("SRT^T-62000^Liver"), "a", "liver"),
        (coded("SCT^4147007^Mass"), "HCC", "liver tumor"),
        (coded("SCT^4147007^Mass"), "liver", None),  # they contradict each other
        (coded("SCT^85756007^Tissue"), "liver tumor", "liver tumor"),  # what Slicer gives to every new segment
        (coded("SCT^78961009^Spleen"), "Segment_1", None),
        (coded("SCT^4147007^Mass", "SCT^39607008^Lung"), "mass", None),
        (coded("SCT^10200004^Liver"), "liver tumor", None),
        (coded("SCT^367643001^Cyst", "SCT^64033007^Kidney"), "cyst 2", "kidney"),
        ("not a terminology", "liver", "liver"),
    ],
)
def test_codes_tell_the_role(terminology, name, label):
    assert role(name, terminology=terminology) == label


def sided_task() -> Task:
    left = Label(1, "left kidney", "organ", (1, 2, 3), KIDNEYS.labels[0].category, KIDNEY, parts=1)
    return replace(KIDNEYS, name="sides", labels=(left, replace(left, value=2, name="right kidney")))


def test_task_with_sides_takes_each_side_apart():
    assert role("Kidney left", task=sided_task()) == "left kidney"
    assert role("Kidney", task=sided_task()) is None
    assert role("a", sided_task(), coded("SCT^64033007^Kidney", modifier="SCT^24028007^Right")) == "right kidney"


def test_task_of_ones_own_organ_is_known_by_its_name():
    spleen = replace(LIVER.labels[0], name="spleen", type=replace(KIDNEY, value="78961009"))
    task = Task("spleen", "Spleen", (spleen,), (-100.0, 200.0), (64, 64), 1.0)
    assert role("Spleen 2", task) == "spleen"
    assert role("liver", task) is None


# Rows


def scene(count: int = 3, **entries) -> tuple[list[SceneImage], list[SceneSegmentation]]:
    images = [ct(f"i{n}", f"case {n}", patient=f"Patient {n}", bounds=BOX) for n in range(count)]
    segments = entries.pop("segments", drawn("Liver", "Lesion A"))
    return images, [
        seg(f"s{n}", f"case {n} seg", *segments, reference_image_id=f"i{n}", bounds=INNER, **entries)
        for n in range(count)
    ]


def split_rows(rows, seed: int = 0):
    part_of = parts_by_patient(rows, seed=seed)
    return [replace(row, part=part_of[row.patient]) for row in rows]


def fine_rows(count: int = 10):
    return split_rows(case_rows(*scene(count), LIVER))


def sentences(problems, severity: str) -> str:
    return "\n".join(problem.sentence for problem in problems if problem.severity == severity)


def test_fine_cases_have_nothing_to_mend():
    rows = fine_rows()
    assert [check_row(row, rows, LIVER) for row in rows] == [[]] * 10
    assert check_rows(rows, LIVER) == []


def test_a_pair_that_is_a_guess_is_to_be_looked_at_until_the_reference_says_the_same():
    images, segmentations = scene()
    loaded = [replace(segmentations[0], reference_image_id=None), *segmentations[1:]]
    rows = case_rows(images, loaded, LIVER)
    [problem] = check_row(rows[0], rows, LIVER)
    assert problem.severity == "warning"
    assert "similar name" in problem.sentence and "was drawn on this CT" in problem.sentence
    assert check_row(rows[1], rows, LIVER) == []
    rows[0] = replace(rows[0], segmentation=segmentations[0])
    assert check_row(rows[0], rows, LIVER) == []


def test_a_role_is_remembered_for_all_rows():
    rows = case_rows(*scene(segments=drawn("Leber", "Herd 1")), LIVER)
    assert "Say which segments are" in sentences(check_row(rows[0], rows, LIVER), "error")
    rows = remember_roles(remember_roles(rows, "Leber", "liver"), " herd  1", "liver tumor")
    assert [row.roles for row in rows] == [{"Leber": "liver", "Herd 1": "liver tumor"}] * 3
    assert check_row(rows[2], rows, LIVER) == []


def test_ct_without_segmentation():
    images, segmentations = scene()
    rows = case_rows(images, segmentations[1:], LIVER)
    assert "Draw one in the Segment Editor" in sentences(check_row(rows[0], rows, LIVER), "error")
    assert check_row(rows[1], rows, LIVER) == []


def test_segmentation_without_ct():
    images, segmentations = scene()
    rows = case_rows(images[1:], [replace(segmentations[0], name="alone", bounds=FAR), *segmentations[1:]], LIVER)
    assert rows[-1].image is None
    assert "Choose the one that it was drawn on" in sentences(check_row(rows[-1], rows, LIVER), "error")


def test_no_tumor_segment_is_a_warning_and_no_tumor_in_any_case_an_error():
    rows = case_rows(*scene(segments=drawn("Liver")), LIVER)
    assert "No segment is the liver tumor" in sentences(check_row(rows[0], rows, LIVER), "warning")
    assert "No case shows a tumor" in sentences(check_rows(rows, LIVER), "error")


def test_empty_tumor_segment_says_that_there_is_none():
    images, segmentations = scene()
    segmentations[0] = replace(segmentations[0], segments=drawn("Liver", "Lesion A", empty=("Lesion A",)))
    rows = case_rows(images, segmentations, LIVER)
    [problem] = check_row(rows[0], rows, LIVER)
    assert problem.severity == "warning" and "liver tumor is empty" in problem.sentence
    assert "No case shows" not in sentences(check_rows(rows, LIVER), "error")


def test_wholly_empty_segmentation_is_told_once():
    images, segmentations = scene()
    segmentations[0] = replace(segmentations[0], segments=drawn("Liver", "Lesion", empty=("Liver", "Lesion")))
    rows = case_rows(images, segmentations, LIVER)
    [problem] = check_row(rows[0], rows, LIVER)
    assert "All segments are empty" in problem.sentence


def test_tumor_of_unknown_organ_must_be_named_or_put_aside():
    rows = case_rows(*scene(segments=drawn("liver", "kidney", "Lesion")), ABDOMEN)
    assert "'Lesion'" in sentences(check_row(rows[0], rows, ABDOMEN), "error")
    rows = remember_roles(rows, "Lesion", NOT_USED)
    assert sentences(check_row(rows[0], rows, ABDOMEN), "error") == ""


def test_segments_that_are_not_used_are_named():
    names = [f"structure {n}" for n in "abcdef"]
    rows = case_rows(*scene(segments=drawn("Liver", "Lesion A", *names)), LIVER)
    warning = sentences(check_row(rows[0], rows, LIVER), "warning")
    assert "structure a" in warning and "2 more" in warning


def test_one_case_only_and_one_patient_only():
    assert "One case is not enough" in sentences(check_rows(case_rows(*scene(1), LIVER), LIVER), "error")
    rows = [replace(row, patient="Anonymous") for row in case_rows(*scene(), LIVER)]
    assert "All cases are of one patient" in sentences(check_rows(rows, LIVER), "error")
    assert "no cases yet" in sentences(check_rows([], LIVER), "error")


def test_two_patients_with_one_name_and_different_ids_are_two_and_told():
    images, segmentations = scene()
    images[0] = replace(images[0], patient="Miller", patient_id="17")
    images[1] = replace(images[1], patient="Miller", patient_id="18")
    rows = case_rows(images, segmentations, LIVER)
    assert rows[0].patient != rows[1].patient
    assert "Two patients are called 'Miller'" in sentences(check_row(rows[0], rows, LIVER), "warning")
    assert check_row(rows[2], rows, LIVER) == []


def test_patients_of_one_name_without_ids_stay_together_and_are_told():
    images, segmentations = scene()
    images[:2] = [replace(image, patient="Anonymous") for image in images[:2]]
    rows = case_rows(images, segmentations, LIVER)
    assert rows[0].patient == rows[1].patient
    assert "different people" in sentences(check_row(rows[0], rows, LIVER), "warning")


def test_one_patient_id_is_one_patient_however_the_name_is_written():
    images, segmentations = scene()
    images[0] = replace(images[0], patient="Miller^A", patient_id="17")
    images[1] = replace(images[1], patient="MILLER A", patient_id="17")
    rows = case_rows(images, segmentations, LIVER)
    assert rows[0].patient == rows[1].patient


def test_images_of_one_name_get_names_of_their_own():
    images, segmentations = scene()
    rows = case_rows([replace(image, name="CT") for image in images], segmentations, LIVER)
    assert [row.name for row in rows] == ["CT", "CT (2)", "CT (3)"]


def test_same_ct_segmentation_or_name_twice_is_refused():
    rows = fine_rows()
    doubled = [*rows, rows[0]]
    doubled[-1] = replace(doubled[-1])
    errors = sentences(check_row(doubled[-1], doubled, LIVER), "error")
    assert "too" in errors and "CT is in two rows" in errors and "segmentation is in two rows" in errors


def test_segmentation_that_lies_elsewhere_is_refused():
    images, segmentations = scene()
    segmentations[0] = replace(segmentations[0], bounds=FAR)
    segmentations[1] = replace(segmentations[1], bounds=(-200.0, 50.0, 0.0, 100.0, 0.0, 100.0))
    rows = case_rows(images, segmentations, LIVER)
    assert "does not lie in this CT" in sentences(check_row(rows[0], rows, LIVER), "error")
    assert "cut off" in sentences(check_row(rows[1], rows, LIVER), "warning")


def test_split_keeps_patients_whole_and_moves_them_whole():
    rows = [replace(row, patient=f"P{number // 2}") for number, row in enumerate(fine_rows(12))]
    rows = split_rows(rows, seed=1)
    assert {row.part for row in rows} == {"train", "validation", "test"}
    assert all(len({row.part for row in rows if row.patient == patient}) == 1 for patient in {r.patient for r in rows})
    moved = move_patient(rows, "P0", "test")
    assert [row.part for row in moved if row.patient == "P0"] == ["test", "test"]


def test_split_without_a_part_is_told():
    rows = [replace(row, part="train") for row in fine_rows(3)]
    assert "choose the best model with" in sentences(check_rows(rows, LIVER), "error")
    assert "measure the result" in sentences(check_rows(rows, LIVER), "warning")


@pytest.mark.parametrize(
    ("part", "consequence"),
    [
        ("train", "cannot be learned"),
        ("validation", "chosen without regard to it"),
        ("test", "not be known how well it is found"),
    ],
)
def test_a_part_whose_cases_show_no_tumor_is_told(part, consequence):
    rows = fine_rows()
    healthy = [
        replace(row, segmentation=replace(row.segmentation, segments=drawn("Liver", "Lesion A", empty=("Lesion A",))))
        if row.part == part
        else row
        for row in rows
    ]
    [problem] = check_rows(healthy, LIVER)
    assert problem.severity == "warning"
    assert "shows liver tumor" in problem.sentence and consequence in problem.sentence
    sick = next(row.patient for row in healthy if row.part != part)
    assert "shows liver tumor" not in sentences(check_rows(move_patient(healthy, sick, part), LIVER), "warning")
