"""What every command is made with."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def new_command(
    commands: argparse._SubParsersAction, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """A command that runs a function, which gives its exit status."""
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser
