"""The mean of a student's best and last weights, where it is better than either on the validation cases.

Epochs of one run lie around a wide minimum, and their mean nearer to its middle (Izmailov et al. 2018, Averaging
Weights Leads to Wider Optima and Better Generalization, arXiv 1803.05407). No epoch is trained for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import numpy as np
import torch
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.safe_files import replacing
from HLFDTrainingLib.run_folder import RunFolder, read_weights
from HLFDTrainingLib.slices import SliceDataset, list_slices
from HLFDTrainingLib.validation import case_dice, count_overlaps

Weights = Mapping[str, torch.Tensor]
STUDENT = "student."
KEPT = "best_epoch.pt"


def keep_mean_if_better(run: RunFolder) -> None:
    """Makes the mean the run's best student where its criterion is higher; done once, and only for a finished run."""
    folder = run.stage("student")
    if is_mean(run):
        return
    best = read_weights(folder / "best.pt")
    last = torch.load(folder / "last.pt", map_location="cpu", weights_only=True)["learner"]
    last = {name.removeprefix(STUDENT): value for name, value in last.items() if name.startswith(STUDENT)}
    network = mean(best["network"], last)
    figures = validated(run, network)
    print(f"Best epoch: {best['criterion']}, mean of best and last: {figures['criterion']}")
    if figures["criterion"] <= best["criterion"]:
        return
    shutil.copyfile(folder / "best.pt", folder / KEPT)
    with replacing(folder / "best.pt") as part:
        torch.save({**best, **figures, "network": network}, part)
    result = run.result()
    run.write("result.json", {**result, "validation_dice": figures["dice"], "criterion": figures["criterion"]})


def is_mean(run: RunFolder) -> bool:
    """Whether the run's best student is the mean; the best epoch's is kept beside it then."""
    return (run.stage("student") / KEPT).is_file()


def mean(one: Weights, other: Weights) -> dict[str, torch.Tensor]:
    """The mean of all that is no count."""
    return {
        name: (value + other[name]) / 2 if value.is_floating_point() else other[name] for name, value in one.items()
    }


def validated(run: RunFolder, weights: Weights) -> dict[str, object]:
    """Dice by label and their mean on the run's validation cases."""
    plan = run.plan()
    network = build_network(plan.student, plan.task.num_classes)
    network.load_state_dict(weights)
    slices = SliceDataset(list_slices(run.split(plan).validation, plan.task), plan.task, run.cache)
    dice = case_dice(count_overlaps(network.eval(), slices, range(len(slices)), torch.device("cpu")))
    shutil.rmtree(run.cache, ignore_errors=True)
    by_label = {label.name: round(float(dice[label.value]), 5) for label in plan.task.labels}
    return {"dice": by_label, "criterion": round(float(np.nanmean(dice[1:])), 5)}
