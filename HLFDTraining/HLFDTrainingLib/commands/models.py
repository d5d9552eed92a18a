"""`hlfd models`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .new_command import new_command


def add_models(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser("models", help="List, import, remove or verify models.")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    new_command(actions, "list", _list_models, "List the installed models.")
    importing = new_command(actions, "import", _import_model, "Check a model package and install it.")
    importing.add_argument("source", type=Path, help="zip file or folder")
    removing = new_command(actions, "remove", _remove_model, "Delete an imported model.")
    removing.add_argument("name")
    verifying = new_command(actions, "verify", _verify_model, "Check that a model is complete and unchanged.")
    verifying.add_argument("model", help="name, folder or zip file")


def _list_models(_options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import list_packages

    for stored in list_packages():
        if stored.package is None:
            print(f"{stored.name}: cannot be used. {stored.problem}")
            continue
        package = stored.package
        organs = ", ".join(label.name for label in package.task.labels)
        origin = "imported" if stored.imported else "ships with HLFD"
        print(f"{package.name}: {package.title} ({organs}; {package.network_name}; {package.license}; {origin})")
    return 0


def _import_model(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import import_package

    print(f"Imported '{import_package(options.source).name}'.")
    return 0


def _remove_model(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import remove_package

    remove_package(options.name)
    print(f"Removed '{options.name}'.")
    return 0


def _verify_model(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import verify_package

    package = verify_package(options.model)
    print(f"'{package.name}' in {package.path.absolute()} is complete and unchanged.")
    return 0
