"""Segment kidney and liver tumours in CT with a small network, and show what each of its layers looks at.

Plain Python: nothing here needs 3D Slicer. Import the submodule you need; importing the package itself imports
nothing heavy.
"""

__version__ = "0.1.0"
