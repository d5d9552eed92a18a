"""What `trainer` puts together: slices, stages, and what both keep on disk."""
