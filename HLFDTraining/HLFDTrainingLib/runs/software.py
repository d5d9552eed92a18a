"""What a run was done with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from HLFDSegmentationLib import __version__

PACKAGES = ("torch", "monai", "SimpleITK", "numpy")


def software_versions() -> dict[str, str]:
    """Versions by name: of HLFD, Python and the packages that decide results. No package is imported."""
    found = {"hlfd": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
