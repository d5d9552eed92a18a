"""Weights and what else a training keeps in files: a sentence where they cannot be written or read."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.errors import OutputError, TrainingError
from HLFDSegmentationLib.output.safe_files import WAITS, not_written, waiting

from .process_files import not_now

KEPT = (
    "What was done before is kept: continue then (in a terminal: `hlfd train` with --resume, `hlfd compare` by the "
    "same command)."
)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises OutputError in place of what Python and torch raise when a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{not_written(path, error)} {KEPT}") from error
    except RuntimeError as error:
        if _is_of_device(error):
            raise
        # torch tells a full disk by it.
        raise OutputError(f"{path} could not be written, as when the disk is full. Free some space. {KEPT}") from error


def _is_of_device(error: RuntimeError) -> bool:
    """Whether not the file failed, but a graphics card that was asked for weights, or the memory for them."""
    from HLFDSegmentationLib.devices import is_card_fault, is_out_of_memory

    return is_card_fault(error) or is_out_of_memory(error)


def load_tensors(path: Path, damaged: str, remedy: str = "", waits: Sequence[float] = WAITS) -> Any:
    """What `torch.load` reads, tensors and numbers alone.

    Args:
        path: of the file.
        damaged: what is told of it where it cannot be read, such as "the checkpoint is damaged".
        remedy: what to do then.
        waits: see `waiting`.

    Raises:
        InputError: the file cannot be read now, which says nothing of what is in it.
        TrainingError: it is damaged.
    """
    # Here, as a run can be started and watched by a program that does without them.
    import torch
    from HLFDSegmentationLib.devices import is_out_of_memory

    try:
        waiting(lambda: path.open("rb").close(), waits)
        _check_zip(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        if is_out_of_memory(error):
            raise
        # Damaged offsets send the reader to places that there are not, which the system calls invalid.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise not_now(path, error) from error
        sentence = f"{path} cannot be read: {damaged} ({type(error).__name__}). {remedy}"
        raise TrainingError(sentence.rstrip()) from error


def _check_zip(path: Path) -> None:
    """Raises BadZipFile where a disk has changed what is in a file: torch itself does not look at its checksums."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as content:
            if damaged := content.testzip():
                raise zipfile.BadZipFile(f"{damaged} does not have its checksum")


def read_weights(path: Path) -> dict[str, Any]:
    """A stage's best.pt, with its "network": tensors and numbers, never code.

    Raises:
        TrainingError: it is none.
        InputError: it cannot be read now, which says nothing of what is in it.
    """
    if not path.is_file():
        raise TrainingError(
            f"{path} is missing: this stage of the run has not finished an epoch yet, or the file was lost. Go on with "
            "the run, or put the file back."
        )
    content = load_tensors(path, "it is damaged or no file of weights")
    if not isinstance(content, dict) or not isinstance(content.get("network"), dict):
        raise TrainingError(f"{path} holds no network of a training. Choose the best.pt that `hlfd train` wrote.")
    return content
