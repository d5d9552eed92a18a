"""Annotated cases as files: how they lie in folders, and what may be wrong with them."""
