"""Begins a training run: what is to be done is written to its folder, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from HLFDSegmentationLib.errors import TrainingError

from ..annotations.case_files import Looked
from ..cases import Case, write_cases_json
from ..plan import TrainingPlan
from ..split import Split
from .earlier_runs import EARLIER, FINGERPRINTS, parts_met, patients_met_by_ct
from .origins import ORIGINS, origins_for
from .run_folder import RunFolder


def start_run(
    run: RunFolder, plan: TrainingPlan, cases: Sequence[Case], split: Split, files: Mapping[str, Looked] | None = None
) -> None:
    """Writes what is to be done.

    Args:
        run: a new folder.
        plan, cases, split: of the run.
        files: what the cases' files have to be, see `case_files.look_at`, where they were looked at before.

    Raises:
        TrainingError: a run was begun here before, or the plan's slices are not for its method.
        PackageError: the plan's weights are of a package that cannot be read.
    """
    plan.check_input_size()
    if run.started:
        raise TrainingError(
            f"{run.path} holds a training run already. Go on with it by --resume, or choose another folder."
        )
    # Before anything is written: where weights are gone, no folder is begun.
    sources = [plan.student_weights, plan.teacher_weights]
    met, met_by_ct, origins = parts_met(sources), patients_met_by_ct(sources), origins_for(plan)
    write_cases_json(cases, run.path / "cases.json")
    run.write("split.json", split.to_dict())
    run.write(EARLIER, met)
    run.write(ORIGINS, origins.to_dict())
    run.write(FINGERPRINTS, {"earlier": met_by_ct, "files": dict(files or {})})
    run.write_plan(plan)
