"""Train a teacher on annotated cases and distil it into a small student. Plain Python, without 3D Slicer."""
