"""The modules of Testing/slicer_shell that need PySide6, over PythonQt; all others are those themselves."""

from pathlib import Path

__path__.append(str(Path(__file__).parents[2] / "slicer_shell"))
