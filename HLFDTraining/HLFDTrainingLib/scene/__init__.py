"""The cases of a scene as plain data, which never imports Slicer."""
