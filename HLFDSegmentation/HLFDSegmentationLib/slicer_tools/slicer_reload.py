"""Reloading HLFD's modules, as developers do: neither must go on with classes that the other no longer has."""

from __future__ import annotations

import sys

import slicer

LIBRARIES = ("HLFDSegmentationLib", "HLFDTrainingLib")


def forget_libraries() -> None:
    """Both libraries are imported anew by whatever is loaded next."""
    for name in [name for name in sys.modules if name.split(".")[0] in LIBRARIES]:
        del sys.modules[name]


def reload_where_open(name: str) -> None:
    """Reloads a module that has a panel; the file of one that has none is imported anew when it is needed."""
    if hasattr(slicer.modules, f"{name}Widget"):
        slicer.util.reloadScriptedModule(name)
    else:
        sys.modules.pop(name, None)
