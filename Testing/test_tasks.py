"""Tasks: labels, codes and colors of the built-in ones, and a user's own organ from a file."""

import json
import math
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from HLFDSegmentationLib.errors import TaskError
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.tasks import TASKS, Task, load_task
from HLFDTrainingLib.new_task import keep_task, new_task

DOCUMENT = Path(__file__).parents[1] / "docs" / "tasks.md"

# As Slicer writes the tag "Segmentation.TerminologyEntry" of a segment.
LIVER = (
    "Segmentation category and type - DICOM master list"
    "~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^"
    "~Anatomic codes - DICOM master list~^^~^^"
)
KIDNEY = LIVER.replace("10200004^Liver", "64033007^Kidney")
LIVER_TUMOR = (
    "Segmentation category and type - DICOM master list"
    "~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~^^"
    "~Anatomic codes - DICOM master list~SCT^10200004^Liver~^^"
)
KIDNEY_TUMOR = LIVER_TUMOR.replace("10200004^Liver", "64033007^Kidney")


def pancreas() -> dict:
    """The example of the documentation."""
    (block,) = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(block)


def write(folder: Path, content: object) -> Path:
    path = folder / "my-task.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("kidney-tumor", {1: ("kidney", KIDNEY), 2: ("kidney tumor", KIDNEY_TUMOR)}),
        ("liver-tumor", {1: ("liver", LIVER), 2: ("liver tumor", LIVER_TUMOR)}),
        (
            "abdomen",
            {
                1: ("liver", LIVER),
                2: ("kidney", KIDNEY),
                3: ("liver tumor", LIVER_TUMOR),
                4: ("kidney tumor", KIDNEY_TUMOR),
            },
        ),
    ],
)
def test_labels_and_terminology_of_a_built_in_task(name, labels):
    task = load_task(name)
    assert {label.value: (label.name, label.terminology) for label in task.labels} == labels
    assert task.num_classes == len(labels) + 1


def test_every_tumor_belongs_to_the_organ_of_its_name():
    for task in TASKS.values():
        pairs = [(organ.name, tumor.name) for organ in task.organs for tumor in task.tumors_of(organ)]
        assert pairs == [(organ.name, f"{organ.name} tumor") for organ in task.organs]
        assert [tumor.region for tumor in task.tumors] == [organ.type for organ in task.organs]


def test_a_body_has_one_liver_and_two_kidneys():
    assert {label.name: label.parts for label in load_task("abdomen").organs} == {"liver": 1, "kidney": 2}


def test_colors_tell_the_labels_apart_and_do_not_change_between_tasks():
    colors = {(label.name, label.color) for task in TASKS.values() for label in task.labels}
    assert len(colors) == len({name for name, _ in colors}) == len({color for _, color in colors}) == 4


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_outlines_beside_each_other_can_be_told_apart(task):
    """Not two shades of one color, as Slicer has them for liver and kidney."""
    for one, other in combinations(task.labels, 2):
        assert math.dist(one.color, other.color) > 100, (one.name, other.name)


def test_the_model_that_ships_has_the_colors_of_its_task():
    labels = find_package().task.labels
    assert [label.color for label in labels] == [label.color for label in TASKS["abdomen"].labels]


def test_the_document_names_every_built_in_task_with_its_labels():
    text = DOCUMENT.read_text(encoding="utf-8")
    for task in TASKS.values():
        labels = ", ".join(f"{label.value} {label.name}" for label in task.labels)
        assert f"| `{task.name}` | {labels} |" in text


@pytest.mark.parametrize("key", [3, "liver tumor"])
def test_a_label_is_found_by_value_and_by_name(key):
    label = load_task("abdomen").label(key)
    assert (label.value, label.name) == (3, "liver tumor")


def test_a_label_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(TaskError, match=r"'liver-tumor' has no label 'spleen'.* 1 \(liver\), 2 \(liver tumor\)"):
        load_task("liver-tumor").label("spleen")
    with pytest.raises(TaskError, match="no label '0'"):
        load_task("liver-tumor").label(0)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_comes_back_from_a_file_as_it_was(task, tmp_path):
    assert load_task(write(tmp_path, task.to_dict())) == task


def test_the_documented_example_is_a_task(tmp_path):
    task = load_task(write(tmp_path, pancreas()))
    organ, tumor = task.labels
    assert (task.name, task.num_classes, task.window) == ("pancreas-tumor", 3, (-100.0, 240.0))
    assert (task.input_size, task.spacing) == ((384, 384), 1.0)
    assert task.organs == (organ,)
    assert task.tumors_of(organ) == (tumor,)
    assert organ.terminology == LIVER.replace("10200004^Liver", "15776009^Pancreas")
    assert tumor.terminology == LIVER_TUMOR.replace("10200004^Liver", "15776009^Pancreas")
    assert load_task(write(tmp_path, task.to_dict())) == task


def test_the_document_explains_every_entry_of_the_example():
    first_cells = re.findall(r"^\| (`.*?) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    explained = set(re.findall(r"`([a-z_]+)`", " ".join(first_cells)))
    example = pancreas()
    assert explained >= {*example, *(entry for label in example["labels"] for entry in label)}


def changed(**entries: object) -> dict:
    return {**pancreas(), **entries}


def changed_label(index: int, **entries: object) -> dict:
    task = pancreas()
    task["labels"][index].update(entries)
    return task


def without(entry: str) -> dict:
    task = pancreas()
    del task[entry]
    return task


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (changed_label(1, value=3), "label values must be 1, 2, 3"),
        (changed_label(0, value=2), "label values must be 1, 2, 3"),
        (changed_label(1, name="pancreas"), "two labels have the same name"),
        (changed_label(1, name="Pancreas"), "names that differ in spaces or capitals only"),
        (changed_label(1, name="../../tumor"), "'../../tumor' cannot be the name of a label"),
        (changed_label(1, name="tumor~1^2"), "cannot be the name of a label"),
        (changed(spacing=10**400), "has a wrong entry"),
        (changed_label(1, role="lesion"), "the role of 'pancreatic tumor' must be 'organ' or 'tumor'"),
        (changed_label(1, organ=None), "tumor 'pancreatic tumor' must name the value of its organ"),
        (changed_label(1, organ=2), "tumor 'pancreatic tumor' must name the value of its organ"),
        (changed(window=[240, -100]), "the window must be [lowest HU, highest HU]"),
        (changed(window=[0, 0]), "the window must be [lowest HU, highest HU]"),
        (changed(spacing=0), "the spacing must lie between 0.1 and 20 mm"),
        (changed(spacing=1e-9), "the spacing must lie between 0.1 and 20 mm"),
        (changed(input_size=[384, 0]), "the input size must lie between 1 and 4096 pixels"),
        (changed(input_size=[10**9, 384]), "the input size must lie between 1 and 4096 pixels"),
        (
            changed_label(0, type={"scheme": "SCT", "value": "1", "meaning": "\ud800"}),
            "texts of one line",
        ),
        (changed(title="Liver\nand more"), "the title must be one line"),
        (without("spacing"), "misses the entry 'spacing'. Compare it with docs/tasks.md"),
        (without("labels"), "misses the entry 'labels'. Compare it with docs/tasks.md"),
        (changed(labels=[{"value": 1}]), "misses the entry"),
        (changed(labels=7), "has a wrong entry"),
        (changed(window=[0, 100, 200]), "has a wrong entry"),
        (changed(spacing="fine"), "has a wrong entry: could not convert string to float: 'fine'. Compare it with docs"),
        (changed_label(0, color=[255, 0]), "has a wrong entry"),
        (changed_label(0, parts=1.5), "must have 1 part or more"),
        (changed_label(0, parts=True), "must have 1 part or more"),
        (changed_label(0, organ=1), "'pancreas' is an organ, and only a tumor has the entries 'organ' and 'region'"),
        (changed_label(0, region=pancreas()["labels"][1]["region"]), "'pancreas' is an organ"),
        (changed_label(1, organ=1.0), "tumor 'pancreatic tumor' must name the value of its organ"),
        (changed_label(1, organ=True), "tumor 'pancreatic tumor' must name the value of its organ"),
        (changed_label(1, name="t" * 250), "is too long: files are named after it"),
        (changed(name="\x1b[2Jpancreas"), "The name of a task must be one line"),
        (changed(window=[-math.inf, 100]), "the window must be [lowest HU, highest HU]"),
        (changed_label(0, type={"scheme": "SCT"}), "has a wrong entry"),
        ([1, 2], "must hold one JSON object. See docs/tasks.md"),
    ],
)
def test_a_wrong_task_file_is_explained(content, sentence, tmp_path):
    with pytest.raises(TaskError, match=re.escape(sentence)):
        load_task(write(tmp_path, content))


def test_a_name_that_is_neither_task_nor_file():
    with pytest.raises(TaskError, match=r"no task 'spleen'\. Use one of kidney-tumor, liver-tumor, abdomen, or give"):
        load_task("spleen")


def test_a_task_whose_colors_have_changed_is_the_same(tmp_path):
    """Else a training from before could neither be gone on from nor compared with."""
    former = TASKS["kidney-tumor"].to_dict()
    former["labels"][0]["color"] = [185, 102, 83]
    assert load_task(write(tmp_path, former)) == TASKS["kidney-tumor"]
    former["labels"][0]["parts"] = 1
    assert load_task(write(tmp_path, former)) != TASKS["kidney-tumor"]


def test_a_mistyped_entry_of_a_file_is_told(tmp_path):
    """The liver's pieces would no longer be cleaned, and nobody would know."""
    content = TASKS["abdomen"].to_dict()
    content["labels"][0]["part"] = content["labels"][0].pop("parts")
    with pytest.raises(TaskError, match="a label has no entry 'part'"):
        load_task(write(tmp_path, content))
    with pytest.raises(TaskError, match="a task has no entry 'windows'"):
        load_task(write(tmp_path, {**TASKS["abdomen"].to_dict(), "windows": 1}))


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    """As Notepad and PowerShell write it."""
    path = write(tmp_path, TASKS["abdomen"].to_dict())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_task(path) == TASKS["abdomen"]


@pytest.mark.parametrize("content", [b"not JSON", b"", b"\xff\xfe\x00binary"])
def test_a_file_that_is_no_json(content, tmp_path):
    path = tmp_path / "photo.json"
    path.write_bytes(content)
    with pytest.raises(TaskError, match=rf"{re.escape(str(path))} cannot be read as JSON.*docs/tasks.md"):
        load_task(path)


def test_wrong_tasks_are_refused_in_code_as_well():
    task = TASKS["abdomen"]
    with pytest.raises(TaskError, match="'abdomen': label values must be"):
        Task(task.name, task.title, task.labels[::-1], task.window, task.input_size, task.spacing)


def test_codes_may_be_written_as_numbers(tmp_path):
    """As most values are."""
    written = changed_label(0, type={"scheme": "SCT", "value": 15776009, "meaning": "Pancreas"})
    assert load_task(write(tmp_path, written)).labels[0].type.value == "15776009"


def test_a_new_task_is_not_written_over_another_one(tmp_path):
    task = new_task("pancreas", tumors=True, window=(-100, 200), spacing=1.5)
    path = keep_task(task, tmp_path)
    assert keep_task(task, tmp_path) == path
    before = path.read_bytes()
    with pytest.raises(TaskError, match="There is a task"):
        keep_task(replace(task, window=(0, 100)), tmp_path)
    assert path.read_bytes() == before
