"""What every stand-in for Slicer's list of modules needs: Slicer's own modules, and the import of module files."""

# ruff: noqa: N802 (Slicer's names)

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


class Module:
    """One of Slicer's own modules: its name and its real logic."""

    def __init__(self, name: str, logic: object) -> None:
        self.name = self.title = name
        self._logic = logic

    def logic(self) -> object:
        return self._logic

    def widgetRepresentation(self) -> None:
        """The panels of Slicer's own modules are no part of the stand-in."""


def import_module_file(path: Path) -> ModuleType:
    """Import a module file; its folder is on Python's path from now on."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    return module
