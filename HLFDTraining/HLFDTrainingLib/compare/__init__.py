"""Comparing distillation methods: many students of one teacher, on the same cases, measured alike (docs/compare.md)."""
