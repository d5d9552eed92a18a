"""Heavy work outside of Slicer: the worker's jobs and protocol, Slicer's side of it, and what a child process needs."""
