"""What 3D Slicer calls the parts of a segmentation, in its scene and in its files."""

BINARY_LABELMAP = "Binary labelmap"
"""Segments as voxels."""

REFERENCE_GEOMETRY = "Reference image geometry"
"""The grid on which segments are edited and exported."""
