"""What makes a CT or a result doubtful, found in the voxels."""
