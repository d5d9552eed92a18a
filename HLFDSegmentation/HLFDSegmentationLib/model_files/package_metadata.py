"""What a model package tells MONAI, in the file that every MONAI Bundle has: configs/metadata.json."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Any

import numpy as np

from .. import __version__
from ..errors import PackageError
from ..tasks import Task
from .package_files import to_json

INTENDED_USE = "Research only. Not a medical device; not for diagnosis or treatment."

VERSION = "1.0.0"
"""MONAI wants one. A model that has learned more is another model, with a name of its own."""


def metadata_bytes(about: dict[str, Any], task: Task, authors: str) -> bytes:
    """MONAI's metadata (https://docs.monai.io/en/latest/mb_specification.html) with our own under "hlfd".

    Args:
        about: our own, which names the title and the network.
        task: what the network segments.
        authors: who made the model.

    Raises:
        PackageError: a figure is infinite or no number.
    """
    metadata = {
        "version": VERSION,
        "changelog": {VERSION: f"written by HLFD {__version__}"},
        "monai_version": installed_version("monai"),
        "pytorch_version": installed_version("torch").split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"hlfd": __version__},
        "name": about["title"],
        "task": task.title,
        "description": f"{task.title} in axial CT slices, by the network {about['network']}.",
        "intended_use": INTENDED_USE,
        "authors": authors,
        "copyright": authors,
        "network_data_format": _data_format(task),
        "hlfd": about,
    }
    try:
        return to_json(metadata)
    except ValueError as error:
        raise PackageError("a figure is infinite or no number (NaN). Give None where there is none.") from error


def _data_format(task: Task) -> dict[str, Any]:
    """What goes into the network and what comes out."""
    plane: dict[str, Any] = {
        "type": "image",
        "spatial_shape": ["32*n", "32*n"],
        "dtype": "float32",
        "is_patch_data": False,
    }
    image = {
        **plane,
        "format": "hounsfield",
        "modality": "CT",
        "num_channels": 1,
        "value_range": [0, 1],
        "channel_def": {"0": "image"},
    }
    pred = {
        **plane,
        "format": "segmentation",
        "num_channels": task.num_classes,
        "value_range": [],
        "channel_def": {"0": "background", **{str(label.value): label.name for label in task.labels}},
    }
    return {"inputs": {"image": image}, "outputs": {"pred": pred}}
