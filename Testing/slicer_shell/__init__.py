"""A stand-in for 3D Slicer's application around Slicer's real MRML, segmentation and display libraries (README.md)."""
