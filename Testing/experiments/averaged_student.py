"""The mean of a student's best weights and others of it, where it is better than any of them on the validation cases.

Epochs of one run lie around a wide minimum, and their mean nearer to its middle (Izmailov et al. 2018, Averaging
Weights Leads to Wider Optima and Better Generalization, arXiv 1803.05407). A student that went on learning and the one
that it started from have a mean that keeps what either does well (Wortsman et al. 2022, Robust fine-tuning of zero-shot
models, arXiv 2109.01903). No epoch is trained for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import numpy as np
import torch
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.output.safe_files import replacing
from HLFDTrainingLib.learning.slices import SliceDataset
from HLFDTrainingLib.learning.stored_slices import list_slices
from HLFDTrainingLib.learning.validation import count_overlaps, mean_dice
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.weights_files import read_weights

Weights = Mapping[str, torch.Tensor]
STUDENT = "student."
KEPT = "best_epoch.pt"


def keep_mean_if_better(run: RunFolder) -> None:
    """Makes the best mean the run's student where its criterion is higher; done once, and only for a finished run."""
    folder = run.stage("student")
    if is_mean(run):
        return
    best = read_weights(folder / "best.pt")
    alone, means = {"best epoch": validated(run, best["network"])["criterion"]}, {}
    for name, other in others(run).items():
        alone[name] = validated(run, other)["criterion"]
        weights = mean(best["network"], other)
        means[name] = validated(run, weights), weights
    name = max(means, key=lambda one: means[one][0]["criterion"])
    figures, network = means[name]
    if figures["criterion"] <= max(alone.values()):
        return
    print(f"Kept: the mean with the {name}.")
    with replacing(folder / KEPT) as part:
        shutil.copyfile(folder / "best.pt", part)
    with replacing(folder / "best.pt") as part:
        torch.save({**best, **figures, "network": network, "mean_with": name}, part)
    result = run.result()
    run.write_result(
        {**result, "validation_dice": figures["dice"], "criterion": figures["criterion"], "mean_with": name}
    )


def others(run: RunFolder) -> dict[str, Weights]:
    """The weights that the best ones may be averaged with, by their names."""
    last = torch.load(run.stage("student") / "last.pt", map_location="cpu", weights_only=True)["learner"]
    last = {name.removeprefix(STUDENT): value for name, value in last.items() if name.startswith(STUDENT)}
    found: dict[str, Weights] = {"last epoch": last}
    if run.given("student").is_file():
        found["student that it started from"] = read_weights(run.given("student"))["network"]
    return found


def is_mean(run: RunFolder) -> bool:
    """Whether the run's best student is a mean; the best epoch's is kept beside it then."""
    return "mean_with" in read_weights(run.stage("student") / "best.pt")


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
    dice = mean_dice(count_overlaps(network.eval(), slices, range(len(slices)), torch.device("cpu")))
    shutil.rmtree(run.cache, ignore_errors=True)
    by_label = {label.name: round(float(dice[label.value]), 5) for label in plan.task.labels}
    criterion = round(float(np.nanmean(dice[1:])), 5)
    print(f"Validated: {criterion} {by_label}")
    return {"dice": by_label, "criterion": criterion}
