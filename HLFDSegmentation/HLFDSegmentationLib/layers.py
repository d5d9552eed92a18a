"""Read, and differentiate through, named layers of a network that is left as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .errors import NetworkError

ENCODER_LAYERS = tuple(f"encoder{level}" for level in range(1, 6))
DECODER_LAYERS = tuple(f"decoder{level}" for level in range(5, 1, -1))
LAYERS = ENCODER_LAYERS + DECODER_LAYERS
"""The nine layers that every network of this project names, in the order in which data flows through them."""


class LayerTap:
    """Keeps what named layers of a network gave in its last forward pass.

    The network says where its layers are in `network.layers`, a dictionary from layer name to module path. The tap
    hooks those modules; the network itself is not changed. Use it as a context manager, or call `close`.

    >>> with LayerTap(network, ["encoder1", "decoder2"]) as tap:
    ...     logits = network(images)
    ...     tap.outputs["encoder1"].shape  # (N, C, H, W)

    Raises:
        NetworkError: the network does not name one of the layers.
    """

    def __init__(self, network: nn.Module, layers: Iterable[str] = LAYERS) -> None:
        self.outputs: dict[str, torch.Tensor] = {}
        self._handles = []
        paths: dict[str, str] = network.layers  # type: ignore[assignment]
        layers = tuple(layers)
        for name in layers:
            if name not in paths:
                raise NetworkError(f"The network has no layer '{name}'. It names {', '.join(paths)}.")
        for name in layers:
            self._handles.append(network.get_submodule(paths[name]).register_forward_hook(self._keep(name)))

    def _keep(self, name: str) -> Callable[[nn.Module, tuple, torch.Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
            self.outputs[name] = output

        return hook

    def close(self) -> None:
        """Unhooks the network and forgets the outputs."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.outputs.clear()

    def __enter__(self) -> LayerTap:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode; afterwards each of its modules is in the mode it had."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
