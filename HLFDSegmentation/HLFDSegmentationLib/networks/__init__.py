"""The networks, by name. One file a network; each names its layers and is otherwise untouched."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import NetworkError

if TYPE_CHECKING:
    from .network import SegmentationNetwork

# Names and files, not imported functions: importing torch and MONAI costs seconds, and Slicer, which lists models by
# their networks' names, may not have them yet.
TEACHERS = {"unet++": "unetplusplus", "resnet50-unet": "resnet_unet", "raunet": "raunet"}
STUDENTS = {"resnet18-unet": "resnet_unet", "mobilenetv2-unet": "mobilenetv2_unet"}
NETWORKS = {**TEACHERS, **STUDENTS}

STRIDE = 32
"""Pixels of a slice, in each direction, that one pixel of a network's deepest layer stands for, at most."""


def build_network(name: str, num_classes: int) -> SegmentationNetwork:
    """An untrained network for one-channel slices.

    Args:
        name: one of `NETWORKS`.
        num_classes: outputs a pixel, the background included.

    Raises:
        NetworkError: there is no network of this name.
    """
    return network_module(name).build(name, num_classes)


def network_module(name: str) -> ModuleType:
    """The file of a network, imported. Raises NetworkError where there is no network of this name."""
    if name not in NETWORKS:
        raise NetworkError(f"There is no network '{name}'. Use one of {', '.join(NETWORKS)}.")
    return import_module(f".{NETWORKS[name]}", __name__)
