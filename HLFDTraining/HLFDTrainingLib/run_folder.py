"""The folder of a training run: everything needed to go on with it, to repeat it and to package its student."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from HLFDSegmentationLib.errors import OutputError, TrainingError
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.safe_files import write_json

from .case_files import look_at
from .cases import Case, find_cases, write_cases_json
from .command_text import quoted
from .ct_fingerprints import check_patients_named_alike, fingerprints
from .plan import TrainingPlan
from .software import software_versions
from .split import PARTS, Split, split_by_patient, split_onward
from .weights_files import read_weights, writing

if TYPE_CHECKING:
    from HLFDSegmentationLib.networks.network import SegmentationNetwork

EARLIER = "earlier.json"
"""File with the patients whom the plan's weights have met: their runs may be moved or removed."""

FINGERPRINTS = "fingerprints.json"
"""File with the fingerprints of the CTs of the run's `cases` by name, what `files` they were (`case_files.Looked`), and
the patients by CT of `earlier` runs."""


class RunFolder:
    """A run's files.

    `plan.json`, `cases.json`, `split.json`, `software.json`, `earlier.json` and `fingerprints.json` are written at the
    start; `given` holds the weights that the plan brings; `teacher`, `head`, `student` and `undistilled` hold a stage's
    `last.pt`, `best.pt` and `preview.npz`; `events.jsonl` is the progress; `cache` holds the slices and is removed at
    the end; `result.json` is written when the last stage is finished.

    Attributes:
        comparison: figures of all networks on the test cases, written by `comparison_table`.
        stop_file: while it is there, training stops at the next step as after SIGTERM, which a process without a
            console does not get on Windows. `hlfd train` removes it when it begins.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.cache = self.path / "cache"
        self.events = self.path / "events.jsonl"
        self.comparison = self.path / "comparison.json"
        self.stop_file = self.path / "stop"

    def stage(self, name: str) -> Path:
        """The folder of a stage."""
        return self.path / name

    def preview(self, stage: str) -> Path:
        """The file that shows what a stage's network makes of one validation slice; see `preview`."""
        return self.stage(stage) / "preview.npz"

    def given(self, role: str) -> Path:
        """The weights that the plan brings for the teacher or the student, copied here at the start of training."""
        return self.path / "given" / f"{role}.pt"

    @property
    def stages(self) -> dict[str, int]:
        """Epochs of each stage by its name, in the order of training."""
        return self.plan().stages

    @property
    def started(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "plan.json").is_file()

    @property
    def finished(self) -> bool:
        """Whether the last stage was finished here."""
        return (self.path / "result.json").is_file()

    def start(self, plan: TrainingPlan, cases: Sequence[Case], split: Split) -> None:
        """Writes what is to be done. Raises TrainingError where a run was begun here before."""
        if self.started:
            raise TrainingError(
                f"{self.path} holds a training run already. Go on with it by --resume, or choose another folder."
            )
        write_cases_json(cases, self.path / "cases.json")
        self.write("split.json", split.to_dict())
        self.write("software.json", software_versions())
        self.write(EARLIER, parts_met([plan.student_weights, plan.teacher_weights]))
        self.write(FINGERPRINTS, {"earlier": patients_met_by_ct([plan.student_weights, plan.teacher_weights])})
        self.write("plan.json", plan.to_dict())

    def plan(self) -> TrainingPlan:
        """The plan that the run was started with."""
        return TrainingPlan.from_dict(self.read("plan.json"))

    def split(self, plan: TrainingPlan) -> Split:
        """The cases, as they were split at the start."""
        return Split.from_dict(self.read("split.json"), find_cases(self.path / "cases.json", plan.task))

    def parts(self) -> dict[str, str]:
        """Part of the split by patient, in this run and in those that its first weights come from.

        A patient whom any of them has learned from is one to learn from; whom any has chosen its model by, and none
        has learned from, is one to choose by.
        """
        split = self.split(self.plan())
        own = {case.patient: part for part in PARTS for case in getattr(split, part)}
        return _merged(own, self.read(EARLIER) if (self.path / EARLIER).is_file() else {})

    def keep_patients_by_ct(self, split: Split) -> None:
        """Keeps whose CTs these are, for those who measure the student later, and sees that none was exchanged.

        Raises:
            CasesError: a CT that an earlier training has met under the name of another patient; or one, or a label,
                that is another than when the run was begun.
        """
        stored = self._fingerprints()
        cases = [case for part in PARTS for case in getattr(split, part)]
        # A run of an older version has no files, but the fingerprints of its CTs.
        known = {**{name: {"ct": ct} for name, ct in stored["cases"].items()}, **stored["files"]}
        files = look_at(cases, known)
        own = {name: looked["ct"] for name, looked in files.items() if looked["ct"]}
        check_patients_named_alike(cases, own, stored["earlier"])
        self.write(FINGERPRINTS, {**stored, "cases": own, "files": files})

    def patients_by_ct(self) -> dict[str, str]:
        """The patient of each CT by its `fingerprint`, in this run and in those that its first weights come from.

        None of runs that were begun by an older version.
        """
        stored = self._fingerprints()
        split = self.split(self.plan())
        cases = [case for part in PARTS for case in getattr(split, part)]
        own = {stored["cases"][case.name]: case.patient for case in cases if case.name in stored["cases"]}
        return {**stored["earlier"], **own}

    def _fingerprints(self) -> dict[str, dict[str, str]]:
        try:
            stored = json.loads((self.path / FINGERPRINTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            stored = None  # Of an older version, or emptied by a power failure: a training can go on without it.
        known = stored.items() if isinstance(stored, dict) else ()
        return {"earlier": {}, "cases": {}, "files": {}, **{name: one for name, one in known if isinstance(one, dict)}}

    def logging(self, report: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
        """The report that also appends each event to `events.jsonl`, single steps left out."""

        def log(event: dict[str, Any]) -> None:
            if event["event"] != "step":
                with writing(self.events), open(self.events, "a", encoding="utf-8") as stream:
                    stream.write(json.dumps(event) + "\n")
            report(event)

        return log

    def write(self, name: str, content: Any) -> None:
        """Writes a JSON file of the run. Raises OutputError."""
        write_json(self.path / name, content)

    def read(self, name: str) -> dict[str, Any]:
        """Reads a JSON object of the run. Raises TrainingError where it is missing or damaged."""
        path = self.path / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("no JSON object")
        except FileNotFoundError as error:
            raise TrainingError(f"There is no training run in {self.path}. Check the path.") from error
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{path} cannot be read: {error}. {self.path} is not the folder of a training run, or it is damaged."
            ) from error
        return content

    def result(self) -> dict[str, Any]:
        """What the finished run achieved. Raises TrainingError where it is not finished."""
        if not self.finished:
            raise TrainingError(
                f"The training run in {self.path} is not finished. Go on with it: hlfd train -o {quoted(self.path)} "
                "--resume"
            )
        return self.read("result.json")

    def best(self, stage: str) -> dict[str, Any]:
        """The best network of a stage, with its epoch and criterion. Raises TrainingError where there is none."""
        return read_weights(self.stage(stage) / "best.pt")

    def network(self, stage: str) -> SegmentationNetwork:
        """The best network so far of "teacher", "student" or "undistilled", in evaluation mode.

        Raises:
            TrainingError: there is none, or it is another network than the plan's.
        """
        plan = self.plan()
        name = plan.teacher if stage == "teacher" else plan.student
        network = build_network(name, plan.task.num_classes)
        try:
            network.load_state_dict(self.best(stage)["network"])
        except RuntimeError as error:
            raise TrainingError(
                f"{self.stage(stage) / 'best.pt'} holds no {name} for the task '{plan.task.name}', which the run's "
                "plan.json names. Restore the file that the training wrote, or train anew."
            ) from error
        return network.eval()


def check_unused(folder: Path, allowed: Sequence[str] = ()) -> None:
    """Refuses a folder to work in that holds other things: files in it would be overwritten or removed.

    Args:
        folder: may be absent.
        allowed: names of files that may be in it, such as the findings of an attempt before.

    Raises:
        OutputError: something else is there.
    """
    present = sorted(path.name for path in folder.iterdir() if path.name not in allowed) if folder.is_dir() else []
    if present or (folder.exists() and not folder.is_dir()):
        what = f"already holds {present[0]}" if present else "is a file"
        raise OutputError(f"{folder} {what}. Choose a new folder: what is there would be overwritten.")


def run_of_weights(source: str | Path) -> RunFolder | None:
    """The run that weights come from: a run's folder, or the best.pt of one of its stages; none for all else."""
    path = Path(source)
    run = RunFolder(path.absolute().parent.parent if path.suffix == ".pt" else path)
    return run if run.started else None


def parts_met(sources: Iterable[str | None]) -> dict[str, str]:
    """Part of the split by patient in the runs that weights come from, see `RunFolder.parts`; none for other weights.

    Raises:
        CasesError: the cases of such a run are gone.
        TrainingError: such a run's folder is damaged.
    """
    parts: dict[str, str] = {}
    for source in sources:
        if source and (run := run_of_weights(source)):
            parts = _merged(parts, run.parts())
    return parts


def patients_met_by_ct(sources: Iterable[str | None]) -> dict[str, str]:
    """`RunFolder.patients_by_ct` of all the runs that weights come from.

    Raises:
        TrainingError: two of them call the patient of one CT differently.
    """
    met: dict[str, str] = {}
    for run in filter(None, (run_of_weights(source) for source in sources if source)):
        for ct, patient in run.patients_by_ct().items():
            if met.setdefault(ct, patient) != patient:
                raise TrainingError(
                    f"Student and teacher come from trainings that call one patient '{met[ct]}' and '{patient}', so "
                    "that a network could be judged by what it has learned from. Take both from one training, or train "
                    "the teacher anew."
                )
    return met


def _merged(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Both; where they differ about a patient, the part that weighs more: learned from, chosen by, tested on."""
    both = {patient: min(one[patient], other[patient], key=PARTS.index) for patient in one.keys() & other.keys()}
    return {**one, **other, **both}


def split_for(plan: TrainingPlan, cases: Sequence[Case]) -> Split:
    """Divides the cases by patient, as the runs did from which the plan's student and teacher come.

    Raises:
        CasesError: there are no cases, those of an earlier run are gone, or its patient has another name here.
        TrainingError: an earlier run's folder is damaged.
    """
    sources = [plan.student_weights, plan.teacher_weights]
    patients = patients_met_by_ct(sources)
    if patients:
        check_patients_named_alike(cases, fingerprints(cases), patients)
    before = parts_met(sources)
    return split_onward(cases, before, seed=plan.seed) if before else split_by_patient(cases, seed=plan.seed)
