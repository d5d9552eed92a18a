"""The student of a run becomes a model of HLFD Segmentation, and is chosen there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from HLFDSegmentationLib.errors import HLFDError, OutputError, PackageError
from HLFDSegmentationLib.model_files.package_files import is_package_name
from HLFDSegmentationLib.model_store import find_package, is_installed
from HLFDSegmentationLib.output.private_folder import PrivateFolder
from slicer.i18n import tr as _

from ..runs.installed_note import note_installed, noted_model
from ..runs.run_folder import RunFolder
from ..runs.run_list import run_name
from .slicer_child import Child

LONGEST_NAME = 64


def suggested_name(run: Path) -> str:
    """A name for the model, made of the run's."""
    name = re.sub(r"[^a-z0-9_]+", "-", run_name(run).lower()).strip("-_")[:LONGEST_NAME]
    return name if is_package_name(name) else "student"


def name_problem(name: str) -> str:
    """A sentence why no model can be installed under this name; "" where one can."""
    if not is_package_name(name):
        return _(
            "Choose another model name: up to 64 small letters, digits, - and _, beginning with a letter or a digit, "
            "and none that Windows keeps for devices, such as con or nul."
        )
    if is_installed(name):
        return _(
            "A model named '{name}' is installed already. Choose another name, or remove that model in HLFD "
            "Segmentation first."
        ).format(name=name)
    return ""


def installed_model(run: Path) -> str:
    """The name of the model that was made of a run, while it is installed; otherwise "".

    A model of the same name with other weights, as another run's that was installed after this one's had been removed,
    is none.
    """
    noted = noted_model(run)
    try:
        package = find_package(noted[0]) if noted else None
    except HLFDError:
        return ""
    return package.name if package and (package.name, package.weights_sha256) == noted else ""


class Installation:
    """Makes a package of a finished run's student, with a model card filled in from the run, and installs it.

    Args:
        run: its folder.
        name: of the model.
        on_installed: called with the name.
        on_failed: called with a sentence.

    Raises:
        HLFDError: it cannot begin; with what to do.
    """

    def __init__(
        self, run: Path, name: str, on_installed: Callable[[str], None], on_failed: Callable[[str], None]
    ) -> None:
        if problem := name_problem(name):
            raise PackageError(problem)
        self._run = run
        self._name = name
        self._on_installed = on_installed
        self._on_failed = on_failed
        plan = RunFolder(run).plan()
        title = f"{run_name(run)} ({plan.student}, {plan.method})"
        self._folder = PrivateFolder()
        self._package = str(self._folder.path / name)
        arguments = ["package", str(run), "-o", self._package, "--name", name, "--title", title]
        try:
            self._child = Child(arguments, _ignore, self._packaged)
        except HLFDError:
            self._folder.remove()
            raise

    def cancel(self) -> None:
        """Ends it; nothing of it stays."""
        self._child.cancel()
        self._folder.remove()

    def _packaged(self, problem: str) -> None:
        if problem:
            self._fail(problem)
            return
        try:
            self._child = Child(["models", "import", self._package], _ignore, self._imported)
        except HLFDError as error:
            self._fail(str(error))

    def _imported(self, problem: str) -> None:
        if problem:
            self._fail(problem)
            return
        self._folder.remove()
        try:
            self._note()
            choose_model(self._name)
        except HLFDError as error:
            self._on_failed(str(error))
            return
        self._on_installed(self._name)

    def _note(self) -> None:
        try:
            note_installed(self._run, self._name, find_package(self._name).weights_sha256)
        except OutputError as error:
            sentence = _(
                "The student is installed, and can be chosen in HLFD Segmentation as '{name}'. Here it will not be "
                "shown as installed, because that could not be noted: {reason}"
            )
            raise OutputError(sentence.format(name=self._name, reason=error)) from error

    def _fail(self, problem: str) -> None:
        self._folder.remove()
        self._on_failed(problem)


def segmentation_logic() -> Any:
    """The logic of HLFD Segmentation. Raises PackageError where that module is not there."""
    try:
        from HLFDSegmentation import HLFDSegmentationLogic
    except ImportError as error:
        raise PackageError(
            _("The module HLFD Segmentation is not loaded. Add it in Slicer's settings under Modules, restart Slicer.")
        ) from error
    return HLFDSegmentationLogic()


def choose_model(name: str) -> None:
    """Chooses an installed model in HLFD Segmentation. Raises PackageError where that module is not there."""
    panel = getattr(slicer.modules, "HLFDSegmentationWidget", None)
    # First the list: a name that is not in it is replaced by that of the default model.
    if panel is not None:
        panel.modelPanel.refresh()
    segmentation_logic().getParameterNode().model = name
    if panel is not None:
        panel.modelPanel.choose(name)


def _ignore(_line: str) -> None:
    """For a child whose lines nobody reads."""
