"""The cases in the panel: gathering them, saying what their segments are, splitting, checking and writing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import qt
import slicer
import vtk
from HLFDSegmentationLib.errors import CasesError, HLFDError
from HLFDSegmentationLib.output.private_folder import PrivateFolder
from HLFDSegmentationLib.slicer_tools.slicer_double_click import without_double_clicks
from HLFDSegmentationLib.slicer_tools.slicer_later import rest_timer
from HLFDSegmentationLib.slicer_tools.slicer_message import breakable
from HLFDSegmentationLib.slicer_tools.slicer_reasons import Reasons
from HLFDSegmentationLib.tasks import Task
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..cases import find_cases
from ..scene.case_list import CaseList
from ..scene.scene_cases import NOT_USED, CaseRow, case_rows
from ..scene.scene_checks import RowProblem
from ..scene.scene_pairs import SceneImage, SceneSegmentation
from ..slicer_scene.slicer_case_work import CaseWork, Steps, WrittenCases, write_and_check
from ..slicer_scene.slicer_cases import (
    Nodes,
    State,
    States,
    ct_problem,
    gone,
    image_of,
    read_scene,
    rows_of_scene,
    segmentation_of,
    segmentations_of,
    selected_nodes,
    volumes_of,
)
from ..split import PARTS
from .slicer_cases_table import CT, NAME, PATIENT, SPLIT, CasesTable, ChoiceCells, Choices, Shown, show_text

SEGMENT_NAME, ROLE = range(2)
Value = TypeVar("Value")
Known = TypeVar("Known", SceneImage, SceneSegmentation)


class CasesPanel(VTKObservationMixin):
    """The controls of the cases.

    Args:
        ui: the panel's widgets.
        on_changed: called when the cases have changed, so that files written of them hold no more.
        show_problem: called with a sentence to show, "" for none.
        on_work: called when a check or the writing has begun or ended; the cases are as they were.
    """

    def __init__(
        self,
        ui: Any,
        on_changed: Callable[[], None],
        show_problem: Callable[[str], None],
        on_work: Callable[[], None],
    ) -> None:
        super().__init__()
        self.ui = ui
        self._on_changed = on_changed
        self._show_problem = show_problem
        self._on_work = on_work
        self._cases = CaseList()
        self._nodes = Nodes()
        self._scenes: list[slicer.vtkMRMLScene] = []
        self._states_of_nodes = States()
        self._states: dict[str, State] = {}
        self._work: CaseWork | None = None
        self._checking = False
        self._reasons = Reasons()
        self._table = CasesTable(ui.casesTable, self._on_cell, self._show_summary)
        self._roles = ChoiceCells(ui.rolesTable, self._on_role)
        roles = ui.rolesTable
        roles.setColumnCount(2)
        roles.setHorizontalHeaderLabels([_("Segment"), _("Is")])
        roles.verticalHeader().setVisible(False)
        roles.horizontalHeader().setStretchLastSection(True)
        ui.addFromSceneButton.connect("clicked(bool)", self._on_add_scene)
        ui.addFromSelectionButton.connect("clicked(bool)", self._on_add_selection)
        ui.addFolderButton.connect("clicked(bool)", self._on_add_folder)
        ui.addSceneFileButton.connect("clicked(bool)", self._on_add_scene_file)
        ui.removeCaseButton.connect("clicked(bool)", self._on_remove)
        ui.splitAgainButton.connect("clicked(bool)", self._on_split_again)
        ui.checkButton.connect("clicked(bool)", without_double_clicks(self._on_check))
        # Cells may be made anew, which must not happen while one of them tells of its change.
        self._later = rest_timer(self.refresh)
        self._show()

    @property
    def rows(self) -> list[CaseRow]:
        """The cases."""
        return list(self._cases.rows)

    @property
    def problem(self) -> str:
        """Why the cases cannot be trained with; "" where they can."""
        if self._work is not None:
            return _("The cases are being checked.")
        for index, row in enumerate(self._cases.rows):
            for problem in self._problems(index):
                if problem.severity == "error":
                    return _("Case {name}: {problem}").format(name=row.name, problem=problem.sentence)
        together = self._cases.problems_together()
        return together[0].sentence if together and together[0].severity == "error" else ""

    def attach(self, parameters: Any) -> None:
        """Follows the scene and looks at it anew; None while there is no scene."""
        self.removeObservers()
        if parameters is None:
            self._later.stop()
            if self._work is not None:
                self._work.cancel()
            return
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.NodeAddedEvent, self._on_node)
        self.addObserver(scene, scene.NodeRemovedEvent, self._on_node)
        self._forget_closed_scene()
        self.refresh()

    def set_task(self, task: Task) -> None:
        """Learns something else from the same cases."""
        if task != self._cases.task:
            self._cases.set_task(task)
            self._changed()

    def keep_parts(self, parts: Mapping[str, str]) -> None:
        """Keeps patients in the part of the split in which a student met them, by their names in its files."""
        if self._cases.keep_parts(parts):
            self._changed()

    def add_case(self, ct: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
        """Adds a CT with just this segmentation, also one of HLFD that the user has corrected."""
        image = image_of(ct, self._nodes)
        drawn = replace(segmentation_of(segmentation, self._nodes), reference_image_id=image.id)
        added = self._cases.add(case_rows([image], [drawn], self._cases.task))
        done = _("Added to the cases: {segmentation} on {ct}.").format(segmentation=drawn.name, ct=image.name)
        self._added(added, _("This CT or this segmentation is in the table of cases already. Change it there."), done)

    def write_cases(
        self,
        folder: Path,
        task: Task,
        on_finished: Callable[[WrittenCases], None],
        on_failed: Callable[[str], None],
        on_progress: Callable[[float], None],
    ) -> CaseWork:
        """Writes the cases into a folder and checks what was written, in steps. Nothing in the scene changes.

        Args:
            folder: gets `cases.json` and the files of the scene's cases; where it fails, nothing is left in it.
            task: what is learned from the cases.
            on_finished: called with what was written.
            on_failed: called with a sentence.
            on_progress: called with the share that is done.

        Returns:
            What goes on; its `cancel` ends it without a further call.
        """
        # Nobody is told of changes that are only found now: they go into the files.
        if task != self._cases.task:
            self._cases.set_task(task)
        self._look()
        problem = self.problem

        def steps() -> Steps[WrittenCases]:
            if problem:
                raise CasesError(problem)
            return (yield from write_and_check(self._cases, self._nodes, folder))

        return self._start(steps(), on_finished, on_failed, on_progress)

    # Gathering

    def _on_add_scene(self, clicked: bool) -> None:
        rows = rows_of_scene(slicer.mrmlScene, self._nodes, self._cases.task)
        self._add_found(
            rows,
            _(
                "No CT of the scene has a segmentation that is not in the table yet. Results of HLFD Segmentation are "
                "not taken here: select a corrected one in the Data module, and press Add from selection."
            ),
        )

    def _on_add_selection(self, clicked: bool) -> None:
        rows = rows_of_scene(slicer.mrmlScene, self._nodes, self._cases.task, selected_nodes())
        self._add_found(rows, _("Select CTs, segmentations, or a study or folder with them, in the Data module."))

    def _on_add_folder(self, clicked: bool) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder with annotated cases"))
        if not folder:
            return
        try:
            found = find_cases(Path(folder), self._cases.task)
            added = self._cases.add_files(found)
        except HLFDError as error:
            self._show_problem(str(error))
            return
        self._added(added, _("The cases of this folder are in the table already."))
        if 0 < added < len(found):
            sentence = _("Cases left out because their CT or annotation is in the table already: {count}.")
            self._show_problem(sentence.format(count=len(found) - added))

    def _on_add_scene_file(self, clicked: bool) -> None:
        file = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Scene with annotated cases"), "", _("Scenes (*.mrb *.mrml)")
        )
        if not file:
            return
        try:
            with slicer.util.WaitCursor():
                scene = read_scene(Path(file))
        except HLFDError as error:
            self._show_problem(str(error))
            return
        self._scenes.append(scene)
        rows = rows_of_scene(scene, self._nodes, self._cases.task)
        self._add_found(rows, _("No CT of this scene has a segmentation."))
        self._free_scenes()

    def _on_remove(self, clicked: bool) -> None:
        if not self._table.selected:
            self._show_problem(_("Mark the cases to remove in the table first."))
            return
        self._show_problem("")
        self._cases.remove(self._table.selected)
        self._free_scenes()
        self._changed()

    def _free_scenes(self) -> None:
        """Those of files of which no case is left: each holds all its CTs in memory."""
        used = [node.GetScene() for row in self.rows for key in _keys(row) if (node := self._nodes.node(key))]
        self._scenes = [scene for scene in self._scenes if scene in used]

    def _add_found(self, rows: Iterable[CaseRow], otherwise: str) -> None:
        self._added(self._cases.add(rows), otherwise)

    def _added(self, count: int, otherwise: str, done: str = "") -> None:
        self._show_problem(done if count else otherwise)
        if count:
            self._changed()

    # Changes

    def refresh(self) -> None:
        """Looks at the nodes anew, and shows the cases as they are now."""
        if self._look():
            if self._work is not None and self._checking:
                self._work.cancel()
                self._show_problem(_changed_meanwhile())
            self._on_changed()
        self._show()

    def _look(self) -> bool:
        """Looks at the nodes anew. Says whether something has changed that matters to a training."""
        before, self._states = self._states, {}
        gone_now = before.keys() & {key for row in self.rows for key in _keys(row) if self._nodes.node(key) is None}
        changed = bool(gone_now)
        for index, row in enumerate(self.rows):
            if self._cases.is_file(row):
                continue
            image, segmentation = self._now(row.image, image_of), self._now(row.segmentation, segmentation_of)
            changed |= self._cases.update(index, image, segmentation)
            nodes = {key: node for key in _keys(row) if (node := self._nodes.node(key))}
            self._states |= {key: self._states_of_nodes.of(node) for key, node in nodes.items()}
        changed |= any(before.get(key, state) != state for key, state in self._states.items())
        if changed:
            self._cases.findings.clear()
        return changed

    def _now(self, known: Known | None, describe: Callable[[Any, Nodes], Known]) -> Known | None:
        """What a node is now; what it was where it is gone."""
        node = self._nodes.node(known.id) if known else None
        return describe(node, self._nodes) if node else known

    def _changed(self) -> None:
        self._on_changed()
        self._later.start()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node(self, caller: Any, event: str, node: slicer.vtkMRMLNode) -> None:
        """A node came or went that a case may be made of."""
        if self._cases.rows and (node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLSegmentationNode")):
            self._later.start()

    def _forget_closed_scene(self) -> None:
        """Leaves out the cases of which nothing is left."""
        empty = [
            index
            for index, row in enumerate(self.rows)
            if not self._cases.is_file(row) and not any(self._nodes.node(key) for key in _keys(row))
        ]
        if empty:
            self._cases.forget(empty)
            self._on_changed()

    def _on_cell(self, index: int, column: int, value: str) -> None:
        if column == NAME:
            self._cases.rename(index, value)
        elif column == PATIENT:
            self._cases.set_patient(index, value)
        elif column == SPLIT:
            self._cases.move(index, value)
        elif node := self._nodes.node(value):
            if column == CT:
                self._cases.set_image(index, image_of(node, self._nodes))
            else:
                self._cases.set_segmentation(index, segmentation_of(node, self._nodes))
        self._changed()

    def _on_split_again(self, clicked: bool) -> None:
        if self._cases.moved_by_hand and not _moves_may_go():
            return
        self._cases.split_again()
        self._changed()

    # Checking and writing

    def _on_check(self, clicked: bool) -> None:
        if self._work is not None and self._checking:
            self._work.cancel()
            return
        self._cases.findings.clear()
        self.refresh()

        problem = self.problem

        def steps() -> Steps[None]:
            if problem:
                raise CasesError(problem)
            with PrivateFolder() as folder:
                yield from write_and_check(self._cases, self._nodes, folder.new_folder())

        def told(sentence: str) -> None:
            changed = self._look()
            self._show_problem(_changed_meanwhile() if changed else sentence)
            if changed or sentence:
                self._on_changed()
            self._show()

        self._checking = True
        self._start(steps(), lambda nothing: told(""), told, lambda share: None)

    def _start(
        self,
        steps: Steps[Value],
        on_finished: Callable[[Value], None],
        on_failed: Callable[[str], None],
        on_progress: Callable[[float], None],
    ) -> CaseWork:
        def progress(share: float) -> None:
            text = _("Writing and checking the cases: {percent} %").format(percent=round(100 * share))
            self.ui.casesSummaryLabel.setText(text)
            on_progress(share)

        def ended() -> None:
            self._work, self._checking = None, False
            self._show()
            self._on_work()

        self._work = CaseWork(steps, on_finished, on_failed, progress, ended)
        self._show()
        self._on_work()
        return self._work

    # Showing

    def _show(self) -> None:
        ui = self.ui
        choices: dict[slicer.vtkMRMLScene, tuple[Choices, Choices]] = {}
        self._table.show([self._shown(index, choices) for index in range(len(self.rows))])
        self._show_roles()
        checking = _("The cases are being checked.") if self._work is not None else ""
        for widget in (ui.casesTable, ui.rolesTable, ui.addFromSceneButton, ui.addFromSelectionButton):
            self._reasons.set(widget, checking)
        for widget in (ui.addFolderButton, ui.addSceneFileButton):
            self._reasons.set(widget, checking)
        missing = "" if self.rows else _("There are no cases yet.")
        for widget in (ui.removeCaseButton, ui.splitAgainButton):
            self._reasons.set(widget, checking or missing)
        self._reasons.set(ui.checkButton, "" if self._checking else checking or missing)
        ui.checkButton.setText(_("Cancel") if self._checking else _("Check"))
        if self._checking:
            ui.checkButton.setToolTip(_("End the check."))
        self._show_summary()

    def _shown(self, index: int, choices: dict[slicer.vtkMRMLScene, tuple[Choices, Choices]]) -> Shown:
        row = self._cases.rows[index]
        scene = next((node.GetScene() for key in _keys(row) if (node := self._nodes.node(key))), None)
        if scene is not None and scene not in choices:
            choices[scene] = self._choices(volumes_of(scene)), self._choices(segmentations_of(scene))
        images, segmentations = choices.get(scene, ((), ()))
        return Shown(row, self._problems(index), images=images, segmentations=segmentations)

    def _choices(self, nodes: Iterable[slicer.vtkMRMLNode]) -> Choices:
        return [(self._nodes.key(node), node.GetName()) for node in nodes]

    def _problems(self, index: int) -> list[RowProblem]:
        """What is wrong with a case, errors first."""
        row = self._cases.rows[index]
        found = [] if self._cases.is_file(row) else list(self._problems_of_nodes(row))
        return found + self._cases.problems(index)

    def _problems_of_nodes(self, row: CaseRow) -> Iterator[RowProblem]:
        if not all(self._nodes.node(key) for key in _keys(row)):
            yield RowProblem("error", gone())
        elif row.image and (problem := ct_problem(self._nodes.node(row.image.id))):
            yield RowProblem("error", problem)

    def _show_roles(self) -> None:
        table, labels = self.ui.rolesTable, [label.name for label in self._cases.task.labels]
        choices = [*((label, label) for label in labels), (NOT_USED, _("something else"))]
        roles = self._cases.segment_roles()
        other_count = table.rowCount != len(roles)
        if other_count:
            self._roles.make_rows(len(roles))
        for index, (name, role) in enumerate(roles.items()):
            show_text(table, index, SEGMENT_NAME, name)
            self._roles.show(index, ROLE, choices, role)
        if other_count:
            table.resizeColumnsToContents()

    def _on_role(self, index: int, column: int, role: str) -> None:
        self._cases.set_role(self.ui.rolesTable.item(index, SEGMENT_NAME).text(), role)
        self._changed()

    def _show_summary(self) -> None:
        if self._work is None:
            self.ui.casesSummaryLabel.setText(breakable("\n\n".join([self._summary(), *self._sentences()])))

    def _summary(self) -> str:
        together = [problem.sentence for problem in self._cases.problems_together()]
        if not self.rows:
            return together[0]
        counts = {part: sum(row.part == part for row in self.rows) for part in PARTS}
        text = _(
            "Cases: {cases}. Patients: {patients}. To learn from: {train}. To choose the best model with: "
            "{validation}. To test it on: {test}."
        ).format(cases=len(self.rows), patients=len({row.patient for row in self.rows}), **counts)
        return "\n\n".join([text, *together])

    def _sentences(self) -> list[str]:
        """What the check says of the marked case; where none is marked, of the first that is wrong."""
        for index in self._table.selected or range(len(self.rows)):
            problems = self._problems(index)
            if problems and (self._table.selected or problems[0].severity == "error"):
                return [
                    _("Case {name}: {problem}").format(name=self.rows[index].name, problem=one.sentence)
                    for one in problems
                ]
        return []


def _changed_meanwhile() -> str:
    return _("The cases have changed while they were checked, which ended the check. Press Check again.")


def _moves_may_go() -> bool:
    question = _("Divide all patients anew? What you moved by hand is lost.")
    return slicer.util.confirmOkCancelDisplay(question, _("HLFD Training: split again"))


def _keys(row: CaseRow) -> list[str]:
    """Keys of a row's nodes."""
    return [one.id for one in row.parts]
