"""The `hlfd` command."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from HLFDSegmentationLib import __version__
from HLFDSegmentationLib.child_process.busy_processor import wait_asleep
from HLFDSegmentationLib.errors import HLFDError, InputError
from HLFDSegmentationLib.torch_loading import explaining_torch

from .commands.comparing import add_compare
from .commands.evaluating import add_evaluate
from .commands.models import add_models
from .commands.packaging import add_package
from .commands.segmenting import add_demo, add_explain, add_segment
from .commands.training import add_train
from .runs.run_state import STOPPED_STATUS
from .runs.stop_signal import ending_as_interrupted


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0; 1 after an error; 130 where it was stopped.

    The sentence of an error goes to standard error.
    """
    _see_to_streams()
    wait_asleep()
    try:
        _refuse_empty(sys.argv[1:] if arguments is None else arguments)
        options = _parser().parse_args(arguments)
        with ending_as_interrupted(), explaining_torch():
            status = options.run(options)
        sys.stdout.flush()
        return status
    except HLFDError as error:
        print(f"hlfd: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("hlfd: stopped.", file=sys.stderr)
        return STOPPED_STATUS
    except MemoryError:
        print(
            "hlfd: the memory of this computer does not suffice. Close other programs, or crop the CT.", file=sys.stderr
        )
    except BrokenPipeError:
        print("hlfd: the command ended early, because the program that read its output did.", file=sys.stderr)
        # Python writes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # of a path that was not looked at before: its name is too long, its disk is gone
        print(
            f"hlfd: {error.filename or 'A file'} cannot be used: {error.strerror or error}. Check its name, its folder "
            "and its disk, or choose another one.",
            file=sys.stderr,
        )
    except RuntimeError as error:  # of torch or ITK, as from a GPU that this torch was not made for
        print(
            f"hlfd: this could not be done: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}. "
            "If a GPU was used, try --device cpu.",
            file=sys.stderr,
        )
    return 1


def _refuse_empty(arguments: Sequence[str]) -> None:
    """An empty path would be the current folder, where nobody asked for anything to be read or written."""
    for before, argument in zip(["", *arguments], arguments):
        if argument and not (argument.startswith("--") and argument.endswith("=")):
            continue
        option = argument or before
        where = f"what follows {option}" if option else "the first one"
        raise InputError(
            f"A part of the command is empty: {where}. Write it out; in a script, look whether a variable is not set."
        )


def _see_to_streams() -> None:
    """A name that a redirected output's code page does not have, as on Windows, is written with escapes.

    A service may close both streams, which Python then has none of.
    """
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hlfd",
        description="Segment liver, kidneys and their tumors in CT with small distilled networks, and see what each "
        "layer looks at. What is called tumor is not to be relied on. For research use only, not for diagnosis.",
    )
    parser.add_argument("--version", action="version", version=f"hlfd {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_segment(commands)
    add_explain(commands)
    add_train(commands)
    add_evaluate(commands)
    add_compare(commands)
    add_package(commands)
    add_models(commands)
    add_demo(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
