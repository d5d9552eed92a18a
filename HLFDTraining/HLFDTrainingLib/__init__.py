"""Train a teacher on annotated cases and distil it into a small student.

Files named `slicer_*` need 3D Slicer; all others are plain Python.
"""
