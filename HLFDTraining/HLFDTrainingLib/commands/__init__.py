"""The commands of `hlfd`: their options, and what they do.

The library is imported where a command needs it: `hlfd --help` must not wait seconds for torch and MONAI.
"""
