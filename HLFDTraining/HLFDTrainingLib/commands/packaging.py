"""`hlfd package`."""

from __future__ import annotations

import argparse
from pathlib import Path

from HLFDSegmentationLib.errors import InputError

from .new_command import new_command


def add_package(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = new_command(commands, "package", _package, "Make a model package of a training run's student.")
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder of a finished training run")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new .zip file or folder")
    parser.add_argument("--name", help="of the model: lowercase letters, digits, - and _ (default: from the output)")
    parser.add_argument("--title", help="what users read")
    parser.add_argument("--license", help="of the model")


def _package(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.command_text import quoted
    from HLFDSegmentationLib.model_files.package_files import is_package_name

    from ..packaging import package_run
    from ..runs.run_folder import RunFolder

    name = options.name or options.output.name.lower().removesuffix(".zip")
    if not is_package_name(name):
        raise InputError(
            f"'{name}' cannot be the name of a model: that is lowercase letters, digits, - and _, and none that "
            "Windows keeps for devices, such as con or nul. Give one by --name."
        )
    run = RunFolder(options.run_folder)
    if not run.started and run.comparison.is_file():
        raise InputError(
            f"{run.path} is the folder of a comparison, with a training run for each row. Package one of them: "
            f"hlfd package {quoted(run.path / 'rows' / 'NAME')} -o {quoted(options.output)}"
        )
    path = package_run(
        run,
        options.output,
        name=name,
        title=options.title,
        license=options.license,
    )
    print(f"Wrote {path}. Use it with: hlfd models import {quoted(path)}")
    return 0
