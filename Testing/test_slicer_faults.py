"""Twenty runs through the panel in one session of Slicer, in each of which something goes wrong.

Everything is real but Slicer's window: the worker process is killed and starved by the system, files cannot be written,
nodes and model folders are deleted. The moments are chosen by a seeded generator, phase by phase.
"""

import random
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from generated_cases import blob_case
from HLFDSegmentationLib.phases import ADDING, EXPLAINING, LOADING, MEASURING, PREPARING, SEGMENTING, STARTING, WRITING
from slicer_cases import Later, add_roi, add_study, add_transform, add_volume, slicer, turn
from slicer_module_window import answer
from slicer_panel_cases import MODEL, MODULE_FILE, Panel
from test_slicer_run import snapshot

run_panel = Later("HLFDSegmentationLib.slicer_panels.slicer_run_panel")
slicer_worker = Later("HLFDSegmentationLib.slicer_scene.slicer_worker")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit another process (prlimit)")

SLICES = 4
MANY_SLICES = 100
FULL_AT_BYTES = 1000
LITTLE_MEMORY = 1000
DIED = "segmentation process ended|ended by the system"
CANCELLED = "Cancelled. Nothing was added."
GONE = "its CT or its segmentation is no longer in the scene"
PHASES = (PREPARING, STARTING, LOADING, SEGMENTING, EXPLAINING, MEASURING, WRITING, ADDING)
IN_WORKER = PHASES[2:4]


def users_nodes() -> dict:
    """Every node's own state by its ID, but for those of which each scene has one: views, and the panel's own."""
    return {key: state for key, state in snapshot().items() if not slicer.mrmlScene.GetNodeByID(key).GetSingletonTag()}


def segmentations() -> set:
    return set(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))


class Session:
    """One session of Slicer: its user, the scene, the installed model and the temporary folder."""

    def __init__(self, panel: Panel, package: Path, models: Path, temporary: Path) -> None:
        self.panel = panel
        self._package = package
        self.model = models / MODEL
        self._temporary = temporary
        self._random = random.Random(3)
        self.ct = self.drawn = None

    def begin(self) -> None:
        """The user repairs what the last fault has taken away; what is in the scene then is to stay."""
        if not self.model.exists():
            shutil.copytree(self._package, self.model)
        self.panel.choose_model(MODEL)
        self.fill_scene()
        self.panel.parameters.outputSegmentation = None
        self.results_before = set(self.panel.results())
        self.before = users_nodes()
        self.taken_away: set[str] = set()
        self.lent: set[str] = set()

    @property
    def new_results(self) -> int:
        """How many results have come since `begin`."""
        return len(set(self.panel.results()) - self.results_before)

    def fill_scene(self) -> None:
        """The user's nodes, as far as they are not there: a CT, and others that have nothing to do with a run."""
        if not self.ct or not self.ct.GetScene():
            self.ct = add_volume(blob_case(0, SLICES)[0])
            add_study(self.ct)
            add_transform(turn(20), add_volume(blob_case(1, SLICES)[0], "Another CT"))
            add_roi((0, 0, 0), (10, 10, 10))
        if not self.drawn or not self.drawn.GetScene():
            self.drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
            self.drawn.CreateDefaultDisplayNodes()
            self.drawn.GetSegmentation().AddEmptySegment("mine", "liver")
            slicer.util.updateSegmentBinaryLabelmapFromArray(self.labels(), self.drawn, "mine", self.ct)
        self.panel.parameters.inputVolume = self.ct

    @staticmethod
    def labels() -> np.ndarray:
        return sitk.GetArrayFromImage(blob_case(0, SLICES)[1])

    # What the user does

    def click(self) -> None:
        self.panel.ui.segmentButton.click()

    def run_until(self, *phases: str) -> None:
        """Starts a run, and lets it come to a moment in one of the phases."""
        wanted = PHASES.index(self._random.choice(phases))
        self.click()
        assert self.panel.running, self.panel.message
        self.panel.wait(lambda: not self.panel.running or self._phase() >= wanted)
        for _ in range(self._random.randrange(4)):
            slicer.app.processEvents()
        assert self.panel.running, "the run was over before the fault came"

    def run_in_worker(self) -> None:
        """Starts a run with a CT so long that the worker is not at its end when the fault comes."""
        self.panel.parameters.inputVolume = add_volume(blob_case(0, MANY_SLICES)[0], "Long CT")
        self.before |= users_nodes()
        self.run_until(*IN_WORKER)

    def segment(self) -> None:
        """A run to its end."""
        self.click()
        self.panel.wait_for_end()

    def _phase(self) -> int:
        titles = [run_panel.phases()[phase] for phase in PHASES]
        text = self.panel.ui.phaseLabel.text
        return next(index for index, title in enumerate(titles) if text.startswith(title))

    def delete(self, node) -> None:
        """Slicer may take the node's own helpers with it."""
        self.taken_away |= with_displays(node)
        slicer.mrmlScene.RemoveNode(node)

    def close_scene(self) -> None:
        self.taken_away |= set(users_nodes())
        slicer.mrmlScene.Clear(False)

    # What the system does

    def workers(self) -> list[psutil.Process]:
        """The processes that were ever started for this session and are still there, whoever their parent is now."""
        return [each for each in psutil.process_iter() if self._is_ours(each)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return any(str(self._temporary) in word for word in process.cmdline())
        except psutil.Error:
            return False

    def limit_worker(self, kind: int, soft: int) -> Callable[[], None]:
        """Limits the worker; gives what lifts the limit."""
        (worker,) = self.workers()
        before = resource.prlimit(worker.pid, kind)
        resource.prlimit(worker.pid, kind, (soft, before[1]))

        def lift() -> None:
            if worker.is_running():
                resource.prlimit(worker.pid, kind, before)

        return lift

    # What came of it

    def bereft(self) -> set[str]:
        """The nodes that referred to one that the user deleted: Slicer takes it out of their references."""
        gone = re.compile("|".join(rf"\b{key}\b" for key in self.taken_away) or "$^")
        return {key for key, state in self.before.items() if gone.search(str(state))}

    def tells(self, sentence: str) -> None:
        self.panel.wait_for_end()
        assert re.search(sentence, self.panel.message), self.panel.message

    def ends_quietly(self) -> None:
        self.panel.wait_for_end()
        assert self.panel.message == ""

    def files(self) -> list[str]:
        """What lies in the temporary folder, but for the lock that tells the living from the dead."""
        files = [path for path in self._temporary.rglob("*") if path.is_file()]
        return [path.name for path in files if path.name != "owner.lock"]


@pytest.fixture
def session(slicer_shell, untrained_package, tmp_path, monkeypatch):
    from slicer_shell.modules import load_module_file

    models, temporary = tmp_path / "models", tmp_path / "temporary"
    models.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("HLFD_MODELS", str(models))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield Session(Panel(slicer_shell, load_module_file(MODULE_FILE)), untrained_package, models, temporary)
    slicer_worker.close_shared_worker()


# Faults. Each is one run with its end.


def worker_killed(session):
    """As the system does where memory runs out."""
    session.run_in_worker()
    for worker in session.workers():
        worker.kill()
    session.tells(DIED)
    session.panel.parameters.inputVolume = session.ct


def worker_killed_before_it_is_needed(session):
    """Between two runs: nobody has to hear of it."""
    for worker in session.workers():
        worker.kill()
    session.segment()
    session.ends_quietly()
    assert session.new_results == 1


def worker_ended_politely(session):
    session.run_in_worker()
    for worker in session.workers():
        worker.terminate()
    session.tells(DIED)
    session.panel.parameters.inputVolume = session.ct


def out_of_memory(session):
    lift = session.limit_worker(resource.RLIMIT_AS, LITTLE_MEMORY)
    session.segment()
    lift()
    session.tells(f"memory does not suffice|{DIED}")


def cancelled(session):
    session.run_until(*PHASES)
    session.click()
    session.tells(CANCELLED)
    assert session.new_results == 0


def cancelled_among_the_maps(session):
    """Nothing of what is in the scene already stays."""
    session.run_until(PHASES[-1])
    session.panel.wait(lambda: not session.panel.running or len(users_nodes()) > len(session.before) + 6)
    session.click()
    session.tells(CANCELLED)
    assert session.new_results == 0


def second_click(session):
    """Farther apart than those of a double-click: the second one cancels."""
    session.click()
    session.click()
    assert not session.panel.ui.segmentButton.enabled
    session.click()
    session.tells(CANCELLED)
    assert session.new_results == 0


def disk_full_before_the_worker(session):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_AT_BYTES, hard))
    try:
        session.segment()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    session.tells("Free some space")


def disk_full_in_the_worker(session):
    session.run_in_worker()
    lift = session.limit_worker(resource.RLIMIT_FSIZE, FULL_AT_BYTES)
    session.panel.wait_for_end()
    lift()
    session.tells("space")
    session.panel.parameters.inputVolume = session.ct


def ct_deleted(session):
    session.run_until(*PHASES)
    session.delete(session.ct)
    session.tells(GONE)
    assert session.new_results == 0
    assert not session.panel.ui.segmentButton.enabled


def scene_closed(session):
    session.run_until(*PHASES)
    session.close_scene()
    session.tells(GONE)


def output_deleted(session):
    session.panel.parameters.outputSegmentation = session.drawn
    session.run_until(*PHASES)
    session.delete(session.drawn)
    session.tells(GONE)
    assert session.new_results == 0


def cancelled_with_the_users_output(session):
    """The segments that were added to it already are taken out again."""
    node = session.panel.parameters.outputSegmentation = session.drawn
    before = content(node)
    session.run_until(PHASES[-1])
    session.panel.wait(lambda: not session.panel.running or node.GetSegmentation().GetNumberOfSegments() > 1)
    session.click()
    session.tells(CANCELLED)
    assert session.new_results == 0
    assert content(node) == before
    session.lent = with_displays(node)


def content(segmentation) -> list:
    """All of a segmentation but for the times of changes."""
    states = snapshot()
    keys = list(segmentation.GetSegmentation().GetSegmentIDs())
    voxels = [slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, key).tobytes() for key in keys]
    return [keys, voxels, *(states[key][:2] for key in sorted(with_displays(segmentation)))]


def with_displays(node) -> set[str]:
    return {node.GetID(), *(node.GetNthDisplayNodeID(index) for index in range(node.GetNumberOfDisplayNodes()))}


def result_deleted_while_it_grows(session):
    known = segmentations()
    session.run_until(PHASES[-1])
    session.panel.wait(lambda: not session.panel.running or segmentations() - known)
    for node in segmentations() - known:
        session.delete(node)
    session.tells(GONE)


def model_removed(session):
    """Before the click: the panel still shows it."""
    shutil.rmtree(session.model)
    session.segment()
    session.tells(MODEL)


def model_removed_during_the_run(session):
    """Too late to matter, or told."""
    session.run_until(*PHASES[:3])
    shutil.rmtree(session.model)
    session.panel.wait_for_end()
    assert bool(session.panel.message) != bool(session.new_results)


def not_a_ct_declined(session):
    declined_or_accepted(session, "No")
    session.tells(CANCELLED)
    assert session.new_results == 0


def not_a_ct_accepted(session):
    declined_or_accepted(session, "Yes")
    session.ends_quietly()
    assert session.new_results == 1


def declined_or_accepted(session, button: str) -> None:
    import qt

    session.panel.parameters.inputVolume = add_volume(sitk.Abs(blob_case(0, SLICES)[0]), "MR")
    session.before |= users_nodes()
    answer(getattr(qt.QMessageBox, button))
    session.segment()
    session.panel.wait_for_end()
    session.panel.parameters.inputVolume = session.ct


FAULTS = (
    cancelled,
    worker_killed,
    ct_deleted,
    not_a_ct_declined,
    disk_full_in_the_worker,
    second_click,
    scene_closed,
    cancelled,
    out_of_memory,
    output_deleted,
    model_removed,
    cancelled_with_the_users_output,
    worker_killed_before_it_is_needed,
    disk_full_before_the_worker,
    result_deleted_while_it_grows,
    not_a_ct_accepted,
    model_removed_during_the_run,
    cancelled_among_the_maps,
    worker_ended_politely,
    worker_killed,
)


def go_through(session: Session, fault: Callable[[Session], None]) -> None:
    """One run with a fault. Then the panel is as before a run, and all nodes of the user are what they were."""
    session.begin()
    fault(session)
    ui, after = session.panel.ui, users_nodes()
    assert ui.segmentButton.text == "Segment" and not session.panel.running
    assert ui.segmentButton.enabled == (session.ct.GetScene() is not None)
    assert set(session.before) - set(after) <= session.taken_away
    assert session.new_results or set(after) <= set(session.before)
    for key in session.before.keys() & after.keys() - session.bereft() - session.lent:
        assert after[key] == session.before[key], key
    assert not session.files()
    assert len(session.workers()) <= 1


@pytest.mark.parametrize(
    "faults", [pytest.param(FAULTS[1::5], id="four"), pytest.param(FAULTS, id="twenty", marks=pytest.mark.slow)]
)
def test_runs_with_faults(faults, session):
    panel = session.panel
    session.begin()
    session.segment()
    assert panel.message == "" and session.new_results == 1
    for fault in faults:
        go_through(session, fault)
    session.begin()
    session.segment()
    assert panel.message == "" and session.new_results == 1
    slicer_worker.close_shared_worker()
    assert not session.workers() and not list(Path(tempfile.gettempdir()).iterdir())
