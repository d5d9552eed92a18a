"""HLFD Training as a user has it in front of them, and annotated CTs in the scene, for the tests of the module."""

from __future__ import annotations

import sys
from pathlib import Path

import SimpleITK as sitk
from generated_cases import blob_case
from slicer_annotated_cases import add_segmentation
from slicer_cases import Later, add_study, add_volume
from slicer_module_window import ModuleWindow

slicer = Later("slicer")

CHECKOUT = Path(__file__).parents[1]
UI_FILE = CHECKOUT / "HLFDTraining" / "Resources" / "UI" / "HLFDTraining.ui"
MODULE_FILES = [CHECKOUT / name / f"{name}.py" for name in ("HLFDSegmentation", "HLFDTraining")]

SECTIONS = ("cases", "plan", "run", "result")
SEGMENTS = {1: "liver", 2: "liver tumor"}
SMALL_PATIENT_MM = (1.0, 1.0, 8.0)
"""Pixels as small as those of the task, so that 64 of them hold the whole body."""


class TrainingModule(ModuleWindow):
    """Both modules loaded, HLFD Training opened, its trainings kept in a folder of the test's."""

    name = "HLFDTraining"

    def __init__(self, shell, runs_folder: Path) -> None:
        from slicer_shell.modules import load_module_file

        self.slicer = shell
        self.runs_folder = runs_folder
        for file in MODULE_FILES:
            module = load_module_file(file)
        self.module = module
        shell.app.start_up()
        shell.util.mainWindow().show()
        self.open()
        self.parameters.runsFolder = str(runs_folder)

    @property
    def plan(self) -> dict:
        return self.widget.planPanel.plan().to_dict()

    def choose(self, combo, text: str) -> None:
        """The user takes the entry that begins with a text."""
        texts = [combo.itemText(index) for index in range(combo.count)]
        combo.setCurrentIndex(next(index for index, each in enumerate(texts) if each.startswith(text)))
        self.slicer.app.processEvents()

    def picture(self, name: str, *sections: str) -> None:
        """A screenshot with these sections open, as high as the panel wants to be."""
        for section in SECTIONS:
            getattr(self.ui, f"{section}CollapsibleButton").collapsed = section not in (sections or SECTIONS)
        super().picture(name)


class PanelPart:
    """A part of HLFD Training's panel without the others, in the panel's file."""

    def __init__(self, shell) -> None:
        self.slicer = shell
        self.widget = shell.util.loadUI(str(UI_FILE))
        self.widget.setMRMLScene(shell.mrmlScene)
        self.ui = shell.util.childWidgetVariables(self.widget)
        self.message = ""

    def show_problem(self, sentence: str) -> None:
        self.message = sentence

    wait = ModuleWindow.wait


def forget_modules() -> None:
    """Slicer ends: the libraries are imported anew when it is started again."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("HLFDTrainingLib", "HLFDSegmentationLib")]:
        del sys.modules[name]


def add_annotated_ct(seed: int, name: str, patient: str):
    """A CT and what a user has drawn on it, in a study of a patient; gives both nodes."""
    ct, labels = (_small(image) for image in blob_case(seed))
    volume, drawn = add_volume(ct, name), sitk.GetArrayFromImage(labels)
    add_study(volume, patient, f"Study of {name}")
    segments = {segment: drawn == value for value, segment in SEGMENTS.items()}
    return volume, add_segmentation(volume, segments, f"{name} segmentation")


def unseen_ct(seed: int):
    """A CT of a patient who is in no case, and the truth, [k, j, i]."""
    ct, labels = (_small(image) for image in blob_case(seed))
    return add_volume(ct, "Unseen"), sitk.GetArrayFromImage(labels)


def _small(image: sitk.Image) -> sitk.Image:
    image.SetSpacing(SMALL_PATIENT_MM)
    return image
