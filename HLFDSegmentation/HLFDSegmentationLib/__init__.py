"""Segment liver, kidneys and their tumors in CT with a small network, and show what each of its layers looks at.

Files named `slicer_*` need 3D Slicer; all others are plain Python. Import the submodule you need; importing the package
itself imports nothing heavy.
"""

__version__ = "0.1.0"
