"""What a training has achieved, in the panel: figures on the test cases, the installed student, and learning on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer
from HLFDSegmentationLib.errors import HLFDError
from HLFDSegmentationLib.slicer_scene.slicer_scene_result import SceneResult
from HLFDSegmentationLib.slicer_tools.slicer_double_click import without_double_clicks
from HLFDSegmentationLib.slicer_tools.slicer_packages import ensure_packages
from HLFDSegmentationLib.slicer_tools.slicer_reasons import Reasons
from HLFDSegmentationLib.tasks import Task
from slicer.i18n import tr as _

from ..cases import Case
from ..plan import TrainingPlan
from ..runs.outcome_table import (
    OutcomeRow,
    cases_with,
    dice_of_case,
    found_without,
    mean_dice,
    outcome_rows,
    read_comparison,
)
from ..runs.process_files import ProcessFiles, read_object
from ..runs.run_folder import RunFolder
from ..runs.run_list import run_name
from ..slicer_scene.slicer_child import Child
from ..slicer_scene.slicer_install import Installation, installed_model, segmentation_logic, suggested_name
from ..slicer_scene.slicer_segment_editor import corrected_segmentation, edit
from ..slicer_scene.slicer_test_case import TruthView, load_ct, load_truth, unseen_cases
from .slicer_cases_table import part_titles
from .slicer_texts import stage_titles


class OutcomePanel:
    """The controls of the result.

    Args:
        ui: the panel's widgets.
        on_continue_from: called with the folder of a run from whose student the next training is to go on.
        on_add_case: called with a CT and the corrected segmentation of it.
        show_problem: called with a sentence, "" for none.
    """

    def __init__(
        self,
        ui: Any,
        on_continue_from: Callable[[Path], None],
        on_add_case: Callable[[Any, Any], None],
        show_problem: Callable[[str], None],
    ) -> None:
        self.ui = ui
        self._on_continue_from = on_continue_from
        self._on_add_case = on_add_case
        self._show_problem = show_problem
        self._run: Path | None = None
        self._cases: list[Case] = []
        self._part = "test"
        self._plan: TrainingPlan | None = None
        self._measuring: Child | None = None
        self._installing: Installation | None = None
        self._segmenting: Any = None
        self._reasons = Reasons()
        self._truth_view = TruthView(slicer.mrmlScene)
        ui.outcomeTable.verticalHeader().hide()
        ui.outcomeTable.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        ui.compareButton.connect("clicked(bool)", without_double_clicks(self._on_compare))
        ui.installButton.connect("clicked(bool)", self._on_install)
        ui.segmentTestCaseButton.connect("clicked(bool)", without_double_clicks(self._on_segment))
        ui.addAsCaseButton.connect("clicked(bool)", self._on_add)
        ui.continueFromStudentButton.connect("clicked(bool)", self._on_continue)
        self.show(None)

    def attach(self, parameters: Any) -> None:
        """Follows the scene: none while it is closed."""
        if parameters is None:
            if self._segmenting:
                self._segmenting.cancel()
            self._truth_view.restore()
        self.refresh()

    def show(self, run: Path | None) -> None:
        """Shows what a run has achieved; none, or one that is not finished, has nothing to show."""
        if run != self._run:
            self._end_children()
        finished = run if run is not None and ProcessFiles(run).finished else None
        opened = run != self._run or self._plan is None
        self._run = run
        self._plan, self._cases = None, []
        if finished:
            self._read(finished)
            if opened and self._plan:
                self.ui.installNameEdit.setText(installed_model(finished) or suggested_name(finished))
                self.ui.resultCollapsibleButton.collapsed = False
        self._fill_cases()
        self._draw()

    def refresh(self) -> None:
        """Looks again what there is."""
        self.show(self._run)

    def close(self) -> None:
        """Ends what is under way, and gives the user's layout back."""
        self._stop_children()
        self._truth_view.restore()

    def _read(self, run: Path) -> None:
        try:
            self._plan = RunFolder(run).plan()
            self._cases, self._part = unseen_cases(RunFolder(run), self._plan)
        except HLFDError as error:
            self._show_problem(str(error))

    def _end_children(self) -> None:
        """Ends what is under way for a run that is not shown any more, and says so."""
        measuring, installing = self._measuring is not None, self._installing is not None
        self._stop_children()
        if self._run and (measuring or installing):
            sentence = _(
                "Another training is shown, which ended the installing of '{training}'. Choose that one again, and "
                "start it again."
            )
            if measuring:
                sentence = _(
                    "Another training is shown, which ended the measuring of '{training}'. Choose that one again, and "
                    "start it again."
                )
            self._show_problem(sentence.format(training=run_name(self._run)))

    def _stop_children(self) -> None:
        if self._measuring:
            self._measuring.cancel()
        if self._installing:
            self._installing.cancel()
        self._measuring = self._installing = None

    # Drawing

    def _draw(self) -> None:
        comparison = read_comparison(self._run) if self._run and self._plan else None
        try:
            rows = outcome_rows(comparison) if comparison else []
            self.ui.outcomeLabel.setText(self._summary(comparison))
        except (KeyError, TypeError, StopIteration):
            rows = []
            self.ui.outcomeLabel.setText(_("The figures of this training are damaged. Measure again."))
        self._fill_table(rows)
        self._draw_buttons()

    def _draw_buttons(self) -> None:
        ui, reasons, unfinished = self.ui, self._reasons, self._why_no_result()
        measuring, installing = self._measuring is not None, self._installing is not None
        busy = _("The student is being installed.") if installing else ""
        ui.compareButton.setText(_("Cancel measuring") if measuring else _("Measure on the test cases"))
        reasons.set(ui.compareButton, unfinished or busy)
        reasons.set(ui.installNameEdit, unfinished or busy)
        measured = _("The test cases are being measured.") if measuring else ""
        reasons.set(ui.installButton, unfinished or busy or measured)
        segmenting = _("The case is being segmented.") if self._segmenting else ""
        no_case = "" if self._cases else _("There is no case that the student has not learned from.")
        reasons.set(ui.testCaseCombo, segmenting or unfinished or no_case)
        ui.segmentTestCaseButton.setText(_("Cancel") if self._segmenting else _("Segment, and show truth"))
        not_installed = "" if self._run and installed_model(self._run) else _("Install the student first.")
        reasons.set(ui.segmentTestCaseButton, "" if self._segmenting else unfinished or no_case or not_installed)
        reasons.set(ui.addAsCaseButton, unfinished)
        reasons.set(ui.continueFromStudentButton, unfinished)

    def _why_no_result(self) -> str:
        """Why nothing can be done with the student; "" where it can."""
        if self._run is None:
            return _("Choose a training above, or start one.")
        return "" if self._plan else _("This training is not finished yet. Its result comes here.")

    def _summary(self, comparison: dict[str, Any] | None) -> str:
        """What there is to know first. Raises KeyError or TypeError where the files are damaged."""
        if self._run is None or self._plan is None:
            return self._why_no_result()
        result = read_object(ProcessFiles(self._run).result) or {}
        lines = [
            _("The best student is that of epoch {epoch}. Validation Dice: {dice}.").format(
                epoch=result["best_epoch"], dice=_dice_text(result["validation_dice"])
            )
        ]
        if self._measuring:
            lines.append(_("The test cases are being measured."))
        elif comparison:
            lines += _found(comparison, self._plan.task)
        model = installed_model(self._run)
        if self._installing:
            lines.append(_("The student is being installed."))
        elif model:
            lines.append(_("Installed into HLFD Segmentation as '{name}'.").format(name=model))
        return "\n".join(lines)

    def _fill_table(self, rows: list[OutcomeRow]) -> None:
        table = self.ui.outcomeTable
        headers = _headers()
        table.setRowCount(len(rows))
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels([title for title, _tip in headers])
        for column, (_title, tip) in enumerate(headers):
            table.horizontalHeaderItem(column).setToolTip(tip)
        for number, row in enumerate(rows):
            texts = (row.label, stage_titles()[row.stage], *row.figures, row.parameters, row.gmacs, row.seconds)
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row.network)
                table.setItem(number, column, item)
        table.resizeColumnsToContents()
        table.setVisible(bool(rows))

    def _fill_cases(self) -> None:
        combo = self.ui.testCaseCombo
        names = [self._case_title(case) for case in self._cases]
        chosen = combo.currentText
        combo.clear()
        combo.addItems(names)
        if chosen in names:
            combo.setCurrentIndex(names.index(chosen))

    def _case_title(self, case: Case) -> str:
        """Its name; with its part where the student was chosen by it, and is better there than on others."""
        return case.name if self._part == "test" else f"{case.name} ({part_titles()[self._part]})"

    @property
    def _device(self) -> str:
        """Where to compute: a run may come from a computer with another graphics card."""
        return "cpu" if self._plan and self._plan.device == "cpu" else "auto"

    # Measuring

    def _on_compare(self, clicked: bool) -> None:
        self._show_problem("")
        if self._measuring:
            self._stop_children()
        else:
            try:
                ensure_packages()
                arguments = ["evaluate", str(self._run), "--all", "--device", self._device]
                self._measuring = Child(arguments, self._on_measuring, self._on_measured)
            except HLFDError as error:
                self._show_problem(str(error))
        self._draw()

    def _on_measuring(self, line: str) -> None:
        if line.endswith(" ..."):
            text = _("Measuring: {case}").format(case=line.removesuffix(" ..."))
            self.ui.outcomeLabel.setText(text)

    def _on_measured(self, problem: str) -> None:
        self._measuring = None
        if problem:
            self._show_problem(problem)
        self._draw()

    # Installing

    def _on_install(self, clicked: bool) -> None:
        if self._run is None:
            return
        self._show_problem("")
        try:
            ensure_packages()
            name = self.ui.installNameEdit.text.strip()
            self._installing = Installation(self._run, name, self._on_installed, self._on_not_installed)
        except HLFDError as error:
            self._show_problem(str(error))
        self._draw()

    def _on_installed(self, name: str) -> None:
        self._installing = None
        self._draw()

    def _on_not_installed(self, sentence: str) -> None:
        self._installing = None
        self._show_problem(sentence)
        self._draw()

    # A test case

    def _on_segment(self, clicked: bool) -> None:
        self._show_problem("")
        if self._segmenting:
            self._segmenting.cancel()
            return
        try:
            ensure_packages()
            if self._run and self._plan:
                with slicer.util.WaitCursor():
                    self._segment(self._run, self._plan.task, self._cases[self.ui.testCaseCombo.currentIndex])
        except HLFDError as error:
            self._show_problem(str(error))
        self._draw()

    def _segment(self, run: Path, task: Task, case: Case) -> None:
        ct = load_ct(case, task)
        truth = load_truth(case, ct, task)
        self._segmenting = segmentation_logic().segment(
            ct,
            model=installed_model(run),
            device=self._device,
            # A case was looked at before it was trained with.
            allowNotHU=True,
            onProgress=self._on_progress,
            onFinished=lambda result: self._on_segmented(run, case, truth, result),
            onError=self._on_not_segmented,
            onCancelled=lambda: self._on_not_segmented(""),
            wait=False,
        )

    def _on_progress(self, phase: str, fraction: float, seconds_left: float | None) -> None:
        self.ui.segmentTestCaseButton.setText(_("Cancel ({percent:.0f} %)").format(percent=100 * fraction))

    def _on_segmented(self, run: Path, case: Case, truth: Any, result: SceneResult) -> None:
        self._segmenting = None
        if result.exists and result.ct is not None:
            edit(result)
            if truth.GetScene() is not None:
                self._truth_view.show(result.ct, truth, result.node)
        self._draw()
        comparison = read_comparison(run) if run == self._run else None
        try:
            dice = dice_of_case(comparison, case.name) if comparison else {}
        except (KeyError, TypeError, StopIteration):
            dice = {}
        if dice:
            text = _("Dice of this case: {dice}.").format(dice=_dice_text(dice))
            self.ui.outcomeLabel.setText("\n".join([self.ui.outcomeLabel.text, text]))

    def _on_not_segmented(self, sentence: str) -> None:
        self._segmenting = None
        if sentence:
            self._show_problem(sentence)
        self._draw()

    # Learning goes on

    def _on_add(self, clicked: bool) -> None:
        self._show_problem("")
        segmentation = corrected_segmentation(slicer.mrmlScene)
        ct = ct_of(segmentation) if segmentation else None
        if ct is None:
            self._show_problem(
                _(
                    "There is no corrected segmentation. Segment a CT, correct the result in the Segment Editor, then "
                    "add it."
                )
            )
            return
        try:
            self._on_add_case(ct, segmentation)
        except HLFDError as error:
            self._show_problem(str(error))

    def _on_continue(self, clicked: bool) -> None:
        self._show_problem("")
        if self._run:
            self._on_continue_from(self._run)


def ct_of(segmentation: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The CT that a segmentation was made of."""
    result = SceneResult.of(segmentation)
    reference = segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())
    return (result.ct if result else None) or reference


def _found(comparison: dict[str, Any], task: Task) -> list[str]:
    """The networks beside each other on each tumor (without any, on each label), whichever is better."""
    lines = []
    for label in task.tumors or task.labels:
        lines += [_of_shown(comparison, label.name), _of_others(comparison, label.name)]
    return [line for line in lines if line]


def _of_shown(comparison: dict[str, Any], label: str) -> str:
    """The Dice of a label in the test cases that show it."""
    means = mean_dice(comparison, label)
    if not means:
        return _("No test case shows {label}, so its Dice is not known.").format(label=label)
    figures = ", ".join(f"{stage_titles()[stage]} {dice:.3f}" for stage, dice in means.items())
    sentence = _("Dice of the {label} (test cases that show it: {count}): {figures}.")
    return sentence.format(label=label, count=cases_with(comparison, label), figures=figures)


def _of_others(comparison: dict[str, Any], label: str) -> str:
    """In how many of the other test cases a label was found; "" where it was in none."""
    found = found_without(comparison, label)
    if not any(count for count, _all in found.values()):
        return ""
    figures = ", ".join(f"{stage_titles()[stage]} {count}" for stage, (count, _all) in found.items())
    every = max(number for _count, number in found.values())
    sentence = _("Test cases without {label}: {count}. It was found there all the same in: {figures}.")
    return sentence.format(label=label, count=every, figures=figures)


def _headers() -> list[tuple[str, str]]:
    """The titles of the table's columns, and what they mean."""
    return [
        (_("Label"), _("What was segmented.")),
        (_("Network"), _("Teacher, student, or the student without teacher.")),
        (
            _("Dice"),
            _(
                "Overlap with what you drew: 1 is perfect. As all figures but HD95 and the false positives, over the "
                "test cases that show the label."
            ),
        ),
        (
            _("HD95 (mm)"),
            _(
                "How far the outlines are apart, leaving out the worst 5 %, in the cases where something was found: "
                "this flatters a network that misses much. The number in brackets tells in how many."
            ),
        ),
        (
            _("RVD"),
            _(
                "How much too large (+) or too small (−) the volume is on average. Errors of opposite sign cancel out "
                "there: look at its ± too."
            ),
        ),
        (_("VOE"), _("Error of the overlap: 0 is perfect.")),
        (_("Lesions found"), _("Share of your tumors that were found.")),
        (_("False positives a case"), _("How many tumors a case were made up.")),
        (_("Parameters"), _("How large the network is: numbers that were trained, in millions.")),
        (_("GMACs"), _("How much the network computes for a slice: billions of multiplications with an addition.")),
        (_("Seconds a CT"), _("How long the network takes for a CT on the computer that measured it.")),
    ]


def _dice_text(dice: Mapping[str, float | None]) -> str:
    return ", ".join(f"{label} {'–' if value is None else f'{value:.3f}'}" for label, value in dice.items())
