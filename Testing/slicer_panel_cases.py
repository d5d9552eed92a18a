"""The panel of HLFD Segmentation on the stand-in Slicer, and what its user does: for the tests of it."""

import shutil
import sys
from pathlib import Path

import pytest
from slicer_module_window import ModuleWindow

MODULE_FILE = Path(__file__).parents[1] / "HLFDSegmentation" / "HLFDSegmentation.py"
SEGMENT = "liver tumor"
MODEL = "untrained"


class Panel(ModuleWindow):
    """The module in the window, and what its user does."""

    name = "HLFDSegmentation"

    def __init__(self, slicer, module) -> None:
        self.slicer, self.module = slicer, module
        slicer.util.mainWindow().show()
        self.open()

    def open_again(self) -> None:
        """The user goes to another module and comes back."""
        self.leave()
        self.open()

    def wait_for_end(self) -> None:
        self.wait(lambda: not self.running)

    @property
    def running(self) -> bool:
        return self.ui.progressBar.visible

    def choose_model(self, name: str) -> None:
        self.widget.modelPanel.refresh()
        self.widget.modelPanel.choose(name)

    def results(self) -> list:
        from HLFDSegmentationLib.slicer_scene.slicer_scene_result import SceneResult

        return SceneResult.all(self.slicer.mrmlScene)

    def show_result(self, result) -> None:
        self.parameters.result = result.node


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """The user's folder of models, empty."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("HLFD_MODELS", str(folder))
    return folder


@pytest.fixture
def load(slicer_shell, models, monkeypatch):
    """Loads the module as Slicer does."""
    from slicer_shell.modules import load_module_file

    monkeypatch.setattr(sys, "path", list(sys.path))
    yield lambda: load_module_file(MODULE_FILE)
    if worker := sys.modules.get("HLFDSegmentationLib.slicer_scene.slicer_worker"):
        worker.close_shared_worker()


@pytest.fixture
def panel(slicer_shell, load) -> Panel:
    """The module as it is before PyTorch is installed: it starts no worker process, which takes its time."""
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = {"torch"}
    return Panel(slicer_shell, load())


@pytest.fixture
def small_model(models, untrained_package) -> str:
    """An imported model that is fast."""
    shutil.copytree(untrained_package, models / MODEL)
    return MODEL


@pytest.fixture
def quick(panel, small_model):
    """The panel with a CT, and a model that segments it within a second."""
    from slicer_cases import add_ct
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = set()
    panel.ct = add_ct()
    panel.open_again()
    panel.choose_model(small_model)
    return panel


@pytest.fixture
def reviewed(slicer_shell, panel, tmp_path):
    """The panel with a result with attention, in which the tumor and its lesions are known."""
    from slicer_review_cases import add_reviewed_case

    result = add_reviewed_case(tmp_path)
    slicer_shell.util.setSliceViewerLayers(background=result.ct, fit=True)
    panel.result = result
    panel.open_again()
    panel.show_result(result)
    return panel


def choose_in(selector, node) -> None:
    """The user chooses a node in a node selector."""
    from slicer_shell.pyside import QtWidgets

    names = selector.findChild(QtWidgets.QComboBox)
    index = selector._nodes.index(node)
    names.setCurrentIndex(index)
    names.activated.emit(index)


def foreground(slicer, view: str = "Red"):
    composite = slicer.app.layoutManager().sliceWidget(view).mrmlSliceCompositeNode()
    return slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID() or "")
