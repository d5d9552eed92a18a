"""Results as files, which are complete or not there."""
