"""The models in the panel: which are installed, how good they are, and importing and removing them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import HLFDError, PackageError
from ..model_files.model_figures import Measured, measured_behind
from ..model_files.model_import import REFUSED
from ..model_files.package_files import WEIGHTS
from ..model_package import ModelPackage
from ..model_store import StoredPackage, find_package, list_packages, remove_package, title_among
from ..slicer_tools.slicer_careful_question import confirm_carefully
from ..slicer_tools.slicer_packages import ensure_packages
from ..slicer_tools.slicer_plain_tip import plain_tip
from ..slicer_tools.slicer_python import run_python
from ..slicer_tools.slicer_reasons import Reasons


def import_model(source: str | Path) -> str:
    """Checks a model package (zip or folder), installs a copy, and gives its name.

    Raises:
        PackageError: it cannot be used, with the reason.
        PackagesMissingError: the Python packages that check it are missing.
    """
    ensure_packages()
    ended = run_python("HLFDSegmentationLib.model_files.model_import", str(source))
    if ended.code == REFUSED:
        raise PackageError(ended.said.strip())
    if ended.code:
        logging.error("HLFD: a model could not be imported:\n%s", ended.log)
        raise PackageError(
            _("The model could not be checked. View > Error Log shows why; restart Slicer and try again.")
        )
    return ended.said.strip()


def about(package: ModelPackage) -> str:
    """What a user wants to know of a model: labels, size, license and measured Dice; or why it cannot be read."""
    labels = ", ".join(label.name for label in package.task.labels)
    try:
        megabytes = (package.path / WEIGHTS).stat().st_size / 1e6
    except OSError as error:
        return _(
            "The model '{name}' cannot be read any more: {reason}. Choose another one, or import it again."
        ).format(name=package.name, reason=error.strerror)
    facts = _("{labels}\n{megabytes:.1f} MB, license {license}").format(
        labels=labels, megabytes=megabytes, license=package.license
    )
    return facts + "\n" + _dice(package)


def _dice(package: ModelPackage) -> str:
    measured, unmeasured = [], []
    for label in package.task.labels:
        figures = package.metrics.get(label.name, {})
        kinds = {
            "dice": _("{dice:.2f}"),
            "dice_with_tumors": _("with tumors {dice:.2f}"),
            "test_dice": _("{dice:.2f} on test cases"),
            "test_dice_with_tumors": _("{dice:.2f} on test cases with tumors"),
            "validation_dice": _("{dice:.2f} on the cases that chose it"),
        }
        known = [kind for kind in kinds if figures.get(kind) is not None]
        behind = measured_behind(known, figures)
        texts = [_with_cases(kinds[kind].format(dice=figures[kind]), behind.get(kind)) for kind in known]
        if texts:
            measured.append(_("{label} {figures}").format(label=label.name, figures=", ".join(texts)))
        else:
            unmeasured.append(label.name)
    lines = []
    if measured:
        lines.append(_("Dice: {figures}").format(figures="; ".join(measured)))
    if unmeasured:
        lines.append(_("Dice not measured: {labels}").format(labels=", ".join(unmeasured)))
    return "\n".join(lines)


def _with_cases(figure: str, measured: Measured | None) -> str:
    """A figure, and what it was measured on where that is known."""
    if measured is None:
        return figure
    one = measured.patients == 1
    if measured.slices is None:
        text = _("{figure} (1 patient)") if one else _("{figure} ({patients} patients)")
    elif one:
        text = _("{figure} (single slices: {slices}, of 1 patient)")
    else:
        text = _("{figure} (single slices: {slices}, of {patients} patients)")
    return text.format(figure=figure, slices=measured.slices, patients=measured.patients)


def _absent(name: str) -> StoredPackage:
    """A model that a scene asks for and this computer does not have."""
    problem = _(
        "The model '{name}', which this scene asks for, is not installed here. Import it, or choose another one."
    )
    return StoredPackage(name, Path(name), False, None, problem.format(name=name))


class ModelPanel:
    """The controls of the models.

    Args:
        ui: the panel's widgets.
        on_chosen: called with the name of the model that was chosen, "" for none.
        on_problem: called with a sentence to show.
    """

    def __init__(self, ui: Any, on_chosen: Callable[[str], None], on_problem: Callable[[str], None]) -> None:
        self.ui = ui
        self._on_chosen = on_chosen
        self._on_problem = on_problem
        self._stored: list[StoredPackage] = []
        self._reasons = Reasons()
        self._lock = self._importing = self._no_default = ""
        ui.modelComboBox.connect("currentIndexChanged(int)", self._on_index_changed)
        ui.importZipButton.connect("clicked(bool)", self._on_import_zip)
        ui.importFolderButton.connect("clicked(bool)", self._on_import_folder)
        ui.removeModelButton.connect("clicked(bool)", self._on_remove)
        self.refresh()

    @property
    def chosen(self) -> StoredPackage | None:
        """The chosen model; it may have a problem in place of a package."""
        index = self.ui.modelComboBox.currentIndex
        return self._stored[index] if 0 <= index < len(self._stored) else None

    @property
    def problem(self) -> str:
        """Why nothing can be segmented with what is chosen; "" where it can."""
        if self.chosen is not None:
            return self.chosen.problem or ""
        return self._no_default if self._stored else _("No model is installed. Import one.")

    def refresh(self) -> None:
        """Reads again what is installed."""
        name = self.chosen.name if self.chosen else ""
        self._stored = list_packages()
        combo = self.ui.modelComboBox
        blocked = combo.blockSignals(True)
        combo.clear()
        for stored in self._stored:
            damaged = _("{name} (damaged)").format(name=stored.name)
            combo.addItem(title_among(stored.package, self._stored) if stored.package else damaged)
        combo.blockSignals(blocked)
        self.choose(name)

    def choose(self, name: str) -> None:
        """Chooses the model of this name, the default one for ""; one that is not installed too, with its problem.

        Where it is not clear which is the default one, the choice is left to the user, who is told so.
        """
        wanted = name or self._default()
        names = [stored.name for stored in self._stored]
        combo = self.ui.modelComboBox
        blocked = combo.blockSignals(True)
        if wanted and wanted not in names:
            self._stored.append(_absent(wanted))
            combo.addItem(_("{name} (not installed)").format(name=wanted))
            names.append(wanted)
        combo.setCurrentIndex(names.index(wanted) if wanted in names else -1)
        combo.blockSignals(blocked)
        self._tell_chosen()

    def lock(self, reason: str) -> None:
        """Greys what changes the models, as during a run, and says why; "" enables it."""
        self._lock = reason
        self._enable()

    def _default(self) -> str:
        try:
            return find_package().name
        except PackageError as error:
            self._no_default = str(error)
            return ""

    def _show_chosen(self) -> None:
        package = self.chosen.package if self.chosen else None
        self.ui.modelAboutLabel.setText(about(package) if package else self.problem)
        self._enable()

    def _enable(self) -> None:
        combo = self.ui.modelComboBox
        lock = self._lock or self._importing
        for widget in (self.ui.importZipButton, self.ui.importFolderButton, combo):
            self._reasons.set(widget, lock)
        if self.chosen and not lock:
            combo.setToolTip(plain_tip(combo.currentText))  # Which may be too long for a narrow panel.
        self._reasons.set(self.ui.removeModelButton, lock or self._why_it_stays())

    def _why_it_stays(self) -> str:
        if self.chosen is None or self.chosen.path == Path(self.chosen.name):
            return _("No model that is installed here is chosen.")
        if not self.chosen.imported:
            return _("A model that ships with HLFD stays. Models that you import can be removed.")
        return ""

    def _on_index_changed(self, index: int) -> None:
        self._tell_chosen()

    def _tell_chosen(self) -> None:
        self._show_chosen()
        self._on_chosen(self.chosen.name if self.chosen else "")

    def _on_import_zip(self, clicked: bool) -> None:
        self._import(
            qt.QFileDialog.getOpenFileName(
                slicer.util.mainWindow(), _("Import a model package"), "", _("Model package (*.zip)")
            )
        )

    def _on_import_folder(self, clicked: bool) -> None:
        self._import(
            qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Import the folder of a model package"))
        )

    def _import(self, source: str) -> None:
        if not source:
            return
        self._importing = _("A model is being imported.")  # Slicer goes on drawing and takes clicks meanwhile.
        self._enable()
        try:
            with slicer.util.WaitCursor():
                name = import_model(source)
        except HLFDError as error:
            self._on_problem(str(error))
            return
        finally:
            self._importing = ""
            self._enable()
        self._on_problem("")
        self.refresh()
        self.choose(name)

    def _on_remove(self, clicked: bool) -> None:
        chosen = self.chosen
        if chosen is None:
            return
        question = _(
            "Delete the model '{name}' from this computer? To use it again, you import it again. Reports of results "
            "that it made cannot be exported until then."
        )
        if not confirm_carefully(question.format(name=chosen.name), _("HLFD Segmentation: remove model")):
            return
        try:
            remove_package(chosen.name)
            self._on_problem("")
            self.choose("")
        except HLFDError as error:
            self._on_problem(str(error))
        self.refresh()
