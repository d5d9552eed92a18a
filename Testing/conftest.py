"""What several test files share."""

# ruff: noqa: E402  tests train and segment in several processes at once, and torch looks at this when it is imported

import os

from HLFDSegmentationLib.child_process.busy_processor import wait_asleep

wait_asleep()
if "PYTEST_XDIST_WORKER" in os.environ:
    # As many processes as processors: threads of their own would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import locale
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from generated_cases import TASK, blob_case
from HLFDSegmentationLib.model_package import ModelPackage, write_package
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.volumes import AxialSlices
from slicer_panel_cases import load, models, panel, quick, reviewed, small_model  # noqa: F401 (for pytest, as below)
from slicer_shell.fixtures import (  # noqa: F401 (for pytest, which looks for them here)
    pytest_pycollect_makemodule,
    slice_views,
    slicer_shell,
)
from torch import nn

DATA = Path(__file__).parents[2] / "shared" / "data"


CHARACTERS = locale.setlocale(locale.LC_CTYPE)


@pytest.fixture(autouse=True)
def characters_of_the_system() -> None:
    """A process that has read a DICOM series by SimpleITK takes other files, as MONAI's, for ASCII."""
    locale.setlocale(locale.LC_CTYPE, CHARACTERS)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real CT data beside the checkout; tests that need it skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"the real CT data are not here ({DATA})")
    return DATA


@pytest.fixture(scope="session")
def untrained_package(tmp_path_factory) -> Path:
    """A model package with seeded, untrained weights for `generated_cases.TASK`."""
    return _write_untrained(tmp_path_factory.mktemp("package") / "untrained", "Untrained")


@pytest.fixture
def write_untrained() -> Callable[[Path, str], Path]:
    """Writes such a package, named as its folder, with a title."""
    return _write_untrained


def _write_untrained(folder: Path, title: str) -> Path:
    return write_package(
        folder,
        network=_untrained_network(),
        network_name="mobilenetv2-unet",
        task=TASK,
        name=folder.name,
        title=title,
        license="CC0-1.0",
        training_data=[],
        metrics={},
        card="# Untrained\n",
        method="none",
        seeds={"training": 0},
    )


def _untrained_network() -> SegmentationNetwork:
    """Its labels follow the CT, in few pieces: with fresh statistics and head they are the same for every CT, and each
    of a thousand lesions is measured, which takes longer than the network."""
    torch.manual_seed(3)
    network = build_network("mobilenetv2-unet", TASK.num_classes).train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the statistics become those of what is shown
    images = [AxialSlices(blob_case(seed)[0], TASK).images(0, 6) for seed in range(2)]
    with torch.no_grad():
        network(torch.from_numpy(np.concatenate(images)))
        head = network.body.head[0]
        head.bias.zero_()
        head.weight.mul_(0.1)
    return network.eval()


@pytest.fixture(scope="session")
def default_package() -> ModelPackage:
    """The package that ships with HLFD."""
    return find_package()
