"""The script that makes the default model: the whole way from data to package, on very little of both."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from generated_public_data import ellipse, write_label_volume, write_public_data
from HLFDSegmentationLib.model_package import read_package

sys.path.append(str(Path(__file__).parent / "experiments"))

import default_model
import default_model_figures
import default_model_steadiness
from marked_slices import Marks

NETWORK = "mobilenetv2-unet"


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_public_data(folder)
    # Of the others there are real slices.
    for patient in (100, 101):
        write_label_volume(folder / f"kits23_labels/case_{patient:05}.nii.gz")
    rng, label = np.random.default_rng(0), np.zeros((80, 64, 64), np.uint8)
    label[30:50, 22:42, 22:32], label[30:50, 22:42, 32:42] = 1, 3
    # Soft tissue in fat in air, in HU.
    body = np.where(ellipse((64, 64), (32, 32), (20, 24)), 50, -100)
    body[~ellipse((64, 64), (32, 32), (24, 28))] = -1000
    for name in ("hcc_011_acq1", "totalseg_example_3mm", "totalseg_dicom20"):
        (folder / "volumes" / name).mkdir(parents=True)
        for file, array in (
            ("ct", np.broadcast_to(body, label.shape) + rng.normal(0, 10, label.shape).astype(np.int16)),
            ("label", label),
        ):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((4.0, 4.0, 2.5))
            sitk.WriteImage(image, str(folder / "volumes" / name / f"{file}.nii.gz"))
    return folder


def marks(name: str, shape: tuple[int, int]) -> Marks:
    """Each lower slice shows a tumor."""
    tumor = ellipse(shape, (120, 90), (9, 7))
    return Marks(ellipse(shape, (150, 200), (20, 15)), tumor if name.endswith("z040") else np.zeros(shape, bool))


@pytest.mark.slow
def test_script_goes_from_data_to_a_package_and_its_figures(data, tmp_path, monkeypatch, capfd):
    small = {"EMPTY_SLICES": 3, "PAINTED_SLICES": 1, "PASSES": 1, "KIDNEY_REPEATS": 1, "LESION_PAINTINGS": 1}
    for name, value in small.items():
        monkeypatch.setattr(default_model, name, value)
    monkeypatch.setattr(default_model, "marks_of", marks)
    task = replace(default_model.TASK, input_size=(64, 64), spacing=6.4)
    plan = replace(default_model.PLAN, task=task, teacher=NETWORK, teacher_epochs=1, student_epochs=2, batch=8)
    monkeypatch.setattr(default_model, "PLAN", replace(plan, device="cpu"))
    work = tmp_path / "work"
    monkeypatch.setattr(sys, "argv", ["default_model.py", str(data), str(work)])
    default_model.main()
    package = read_package(work / default_model.NAME)
    assert package.method == "hlfd:full:resize=smaller"
    assert {"liver", "kidney", "liver tumor", "kidney tumor"} == set(package.metrics)
    for told in ("Failures that were seen", "KiTS19, 2 slices", "| liver with tumors |", "not for diagnosis"):
        assert told in package.card

    monkeypatch.setattr(sys, "argv", ["default_model_steadiness.py", str(data), "--model", str(package.path)])
    default_model_steadiness.main()
    assert "totalseg_dicom20, noise of 15 HU" in capfd.readouterr().out

    monkeypatch.setattr(default_model_figures, "PARTS", {"chest": (range(7, 8),)})
    monkeypatch.setattr(sys, "argv", ["default_model_figures.py", str(data), "--model", str(package.path)])
    capfd.readouterr()
    default_model_figures.main()
    told = capfd.readouterr().out
    for part in (
        "KiTS19, 2 slices",
        "Liver with tumors: median",
        "kidney tumor, a patient's slices together: Dice",
        "told as stored the wrong way, as they are: 0 of",
        "painted kidney tumors",
        "liver with tumors: Dice",
        "chest, seeds 7 to 7",
        " GB",
    ):
        assert part in told
