"""Which model of HLFD Segmentation was made of a run: a note in the run's folder."""

from __future__ import annotations

from pathlib import Path

from HLFDSegmentationLib.output.safe_files import write_text

FILE = "installed.txt"


def note_installed(run: Path, name: str, weights_sha256: str) -> None:
    """Notes under which name a run's student was installed. Raises OutputError where the folder cannot be written."""
    write_text(run / FILE, f"{name}\n{weights_sha256}\n")


def noted_model(run: Path) -> tuple[str, str] | None:
    """Name and SHA-256 of the weights of the model that was made of a run; none where nothing is noted.

    It may have been removed since, and another model may have got its name.
    """
    try:
        name, weights = (run / FILE).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return name, weights
