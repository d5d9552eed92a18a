"""PySide6, imported so that its enums are ints, as PythonQt's are.

The option is read once, while PySide6 is imported: whoever needs PySide6 in the shell takes it from here.
"""

import sys

INHERIT_INT, GLOBAL_SHORTCUT, SCOPED_SHORTCUT = 0x02, 0x04, 0x08

if "PySide6" in sys.modules:
    raise RuntimeError("PySide6 was imported before the stand-in Slicer shell; its enums are no ints then")
sys.pyside6_option_python_enum = INHERIT_INT | GLOBAL_SHORTCUT | SCOPED_SHORTCUT

import shiboken6  # noqa: E402
from PySide6 import QtCore, QtGui, QtNetwork, QtSvg, QtUiTools, QtWidgets  # noqa: E402

__all__ = ["QtCore", "QtGui", "QtNetwork", "QtSvg", "QtUiTools", "QtWidgets", "shiboken6"]
