"""`slicer.i18n`: Slicer in its own language."""

from types import ModuleType


def tr(text: str) -> str:
    return text


def translate(_context: str, text: str) -> str:
    return text


def make_i18n_module() -> ModuleType:
    """The module to install as `slicer.i18n`."""
    module = ModuleType("slicer.i18n", "stand-in")
    module.tr, module.translate = tr, translate
    return module
