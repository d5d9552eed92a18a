"""A PyTorch that is installed and does not load, as on a Windows without the Visual C++ runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from .errors import HLFDError


class MissingError(HLFDError):
    """A Python package that the work needs is not there, or cannot be loaded."""


@contextmanager
def explaining_torch() -> Iterator[None]:
    """Turns what an import of PyTorch raises into a sentence: its OSError would be taken for one of the user's files.

    Raises:
        MissingError: PyTorch is there, and cannot be loaded; also in place of an error that was made of that.
    """
    try:
        yield
    except (ImportError, OSError, HLFDError) as error:
        for reason in (error, error.__cause__):
            if isinstance(reason, (ImportError, OSError)) and _is_of_torch(reason):
                raise MissingError(_sentence(reason)) from error
        raise


def _is_of_torch(error: BaseException) -> bool:
    """Whether it came up while PyTorch's own modules were imported."""
    frames = (frame for frame, _line in walk_tb(error.__traceback__))
    return any(frame.f_globals.get("__name__") == "torch" and frame.f_code.co_name == "<module>" for frame in frames)


def _sentence(error: BaseException) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return (
        f"PyTorch is installed, but cannot be loaded ({reason}). On Windows, install Microsoft's Visual C++ "
        "Redistributable first, and try again. If that does not help, install PyTorch anew: in 3D Slicer, open the "
        "module PyTorch Utils, uninstall it, restart Slicer and press Segment, which asks to install it; elsewhere, "
        "with pip."
    )
