"""The weights of a model package: plain tensors, written and read without running code."""

from __future__ import annotations

import io
import zipfile

import torch

from ..errors import PackageError
from ..networks.network import SegmentationNetwork
from .package_files import GET_AGAIN, WEIGHTS


def load_weights(content: bytes, network: SegmentationNetwork) -> None:
    """Gives a network the weights that `bytes_from_weights` made of one like it.

    Raises:
        PackageError: they are not plain tensors, or do not fit the network.
    """
    tensors = _tensors_from_bytes(content)
    _check_tensors(tensors, network)
    network.load_state_dict(tensors)


def _stored_types(network: SegmentationNetwork) -> dict[str, torch.dtype]:
    """Weights are stored in 16 bits. The statistics of normalisation layers, which are few, may need all 32."""
    stored = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    return {**stored, **dict.fromkeys(dict(network.named_parameters()), torch.float16)}


def bytes_from_weights(network: SegmentationNetwork) -> bytes:
    """The weights as a package stores them. Raises PackageError where one does not fit."""
    tensors = {}
    types = _stored_types(network)
    for name, tensor in network.state_dict().items():
        tensors[name] = tensor.detach().to("cpu", types[name], copy=True).contiguous()
        if not torch.isfinite(tensors[name]).all():
            raise PackageError(
                f"the weights '{name}' are infinite, not a number, or above 65504, the largest 16-bit number. The "
                "training has probably diverged: train again with a lower learning rate."
            )
    # Through memory, because a file's name would become part of its bytes.
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def _tensors_from_bytes(content: bytes) -> dict[str, torch.Tensor]:
    try:
        _check_not_compressed(content)
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except PackageError:
        raise
    # What hostile or damaged bytes make of torch's reader is not limited to a few exceptions.
    except Exception as error:
        raise PackageError(
            f"{WEIGHTS} holds something other than plain tensors, which may be program code; nothing of it was run. "
            f"{GET_AGAIN}"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise PackageError(f"{WEIGHTS} is not a dictionary of tensors. {GET_AGAIN}")
    return tensors


def _check_not_compressed(content: bytes) -> None:
    # torch writes a zip file without compression, but would also unpack one that grows a thousandfold.
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
    compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if compressed or sum(entry.file_size for entry in entries) > len(content):
        raise PackageError(f"{WEIGHTS} would grow when it is read, which torch's own files do not. {GET_AGAIN}")


def _check_tensors(tensors: dict[str, torch.Tensor], network: SegmentationNetwork) -> None:
    """Keys, shapes and types first: they cost nothing, whatever size a tensor pretends to have."""
    own = network.state_dict()
    if odd := sorted(map(str, own.keys() ^ tensors.keys())):
        raise PackageError(
            f"{WEIGHTS} has too many or too few weights for its network, for example '{odd[0]}'. {GET_AGAIN}"
        )
    types = _stored_types(network)
    for name, tensor in tensors.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.dtype != types[name] or tensor.shape != own[name].shape:
            raise PackageError(
                f"the weights '{name}' are {tensor.dtype} of shape {tuple(tensor.shape)} and should be plain "
                f"{types[name]} of shape {tuple(own[name].shape)}. {GET_AGAIN}"
            )
        if not torch.isfinite(tensor).all():
            raise PackageError(f"the weights '{name}' are infinite or not a number. {GET_AGAIN}")
