"""What several test files share."""

# ruff: noqa: E402  tests train and segment in several processes at once, and torch looks at this when it is imported

import os

from HLFDSegmentationLib.busy_processor import wait_asleep

wait_asleep()
if "PYTEST_XDIST_WORKER" in os.environ:
    # As many processes as processors: threads of their own would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
import torch
from generated_cases import TASK
from HLFDSegmentationLib.model_package import ModelPackage, write_package
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.networks import build_network
from slicer_panel_cases import load, models, panel, quick, reviewed, small_model  # noqa: F401 (for pytest, as below)
from slicer_shell.fixtures import (  # noqa: F401 (for pytest, which looks for them here)
    pytest_pycollect_makemodule,
    slice_views,
    slicer_shell,
)

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real CT data beside the checkout; tests that need it skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"the real CT data are not here ({DATA})")
    return DATA


@pytest.fixture(scope="session")
def untrained_package(tmp_path_factory) -> Path:
    """A model package with seeded, untrained weights for `generated_cases.TASK`."""
    torch.manual_seed(0)
    return write_package(
        tmp_path_factory.mktemp("package") / "untrained",
        network=build_network("mobilenetv2-unet", TASK.num_classes),
        network_name="mobilenetv2-unet",
        task=TASK,
        name="untrained",
        title="Untrained",
        license="CC0-1.0",
        training_data=[],
        metrics={},
        card="# Untrained\n",
        method="none",
        seeds={"training": 0},
    )


@pytest.fixture(scope="session")
def default_package() -> ModelPackage:
    """The package that ships with HLFD."""
    return find_package()
