"""The mean of a student's best weights and others of it, where it is better than they are on the validation cases.

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
from HLFDSegmentationLib.safe_files import replacing
from HLFDTrainingLib.run_folder import RunFolder, read_weights
from HLFDTrainingLib.slices import SliceDataset, list_slices
from HLFDTrainingLib.validation import case_dice, count_overlaps

Weights = Mapping[str, torch.Tensor]
STUDENT = "student."
KEPT = "best_epoch.pt"


def keep_mean_if_better(run: RunFolder) -> None:
    """Makes the best mean the run's student where its criterion is higher; done once, and only for a finished run."""
    folder = run.stage("student")
    if is_mean(run):
        return
    best = read_weights(folder / "best.pt")
    print(f"Best epoch: {best['criterion']}")
    figures, network, name = max(
        ((validated(run, weights), weights, name) for name, weights in means(run, best["network"]).items()),
        key=lambda found: found[0]["criterion"],
    )
    if figures["criterion"] <= best["criterion"]:
        return
    print(f"Kept: the mean with the {name}.")
    shutil.copyfile(folder / "best.pt", folder / KEPT)
    with replacing(folder / "best.pt") as part:
        torch.save({**best, **figures, "network": network}, part)
    result = run.result()
    run.write(
        "result.json",
        {**result, "validation_dice": figures["dice"], "criterion": figures["criterion"], "mean_with": name},
    )


def means(run: RunFolder, best: Weights) -> dict[str, Weights]:
    """The means of the best weights with each of the others that there are, by their names."""
    last = torch.load(run.stage("student") / "last.pt", map_location="cpu", weights_only=True)["learner"]
    last = {name.removeprefix(STUDENT): value for name, value in last.items() if name.startswith(STUDENT)}
    others = {"last epoch": last}
    if run.given("student").is_file():
        others["student that it started from"] = read_weights(run.given("student"))["network"]
    return {name: mean(best, other) for name, other in others.items()}


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
    criterion = round(float(np.nanmean(dice[1:])), 5)
    print(f"Validated: {criterion} {by_label}")
    return {"dice": by_label, "criterion": criterion}
