"""Loads `.ui` files of Qt Designer with the stand-ins of CTK's and Slicer's widgets."""

# ruff: noqa: N802

import xml.etree.ElementTree as ElementTree

from slicer_shell import pythonqt
from slicer_shell.pyside import QtCore, QtUiTools, QtWidgets

# Class name in the .ui file -> stand-in.
custom_widgets: dict[str, type[QtWidgets.QWidget]] = {}


def register_widgets(*classes: type[QtWidgets.QWidget]) -> None:
    """Makes stand-ins known to `.ui` files by the names of their classes."""
    custom_widgets.update({cls.__name__: cls for cls in classes})


def check_properties(tree: ElementTree.Element) -> None:
    """Raises AttributeError for a property that a stand-in lacks: Qt would make a dynamic one of it, without effect."""
    for widget in tree.iter("widget"):
        cls = custom_widgets.get(widget.get("class"))
        for node in widget.findall("property") if cls else ():
            static = node.get("stdset") != "0" and node.get("name") != "objectName"
            if static and node.get("name") not in cls.cpp_types:
                raise AttributeError(f"{cls.__name__} has no property {node.get('name')!r} ({widget.get('name')})")


def resolve_enums(tree: ElementTree.Element) -> None:
    """Writes the enums of stand-ins as numbers: Qt knows no enum of a class of Python."""
    for widget in tree.iter("widget"):
        cls = custom_widgets.get(widget.get("class"))
        for node in widget.findall("property") if cls else ():
            value = node[0]
            if value.tag in ("set", "enum") and value.text.startswith(f"{cls.__name__}::"):
                names = [name.split("::")[-1] for name in value.text.split("|")]
                value.tag, value.text = "number", str(sum(int(getattr(cls, name)) for name in names))


def take_connections(tree: ElementTree.Element) -> list[dict[str, str]]:
    """Removes the connections from the tree and returns them: Qt can not see the slots of the stand-ins."""
    section = tree.find("connections")
    if section is None:
        return []
    tree.remove(section)
    return [{part.tag: part.text for part in connection if part.text} for connection in section]


def make_connection(top: QtWidgets.QWidget, sender: str, signal: str, receiver: str, slot: str) -> None:
    def find(name: str) -> QtCore.QObject:
        found = top if top.objectName == name else top.findChild(QtCore.QObject, name)
        if found is None:
            raise LookupError(f"the .ui file connects {name!r}, which it does not hold")
        return found

    find(sender).connect(signal, find(receiver), slot)


class UiLoader(QtUiTools.QUiLoader):
    """`qt.QUiLoader`."""

    def createWidget(
        self, class_name: str, parent: QtWidgets.QWidget | None = None, name: str = ""
    ) -> QtWidgets.QWidget:
        if class_name in custom_widgets:
            widget = custom_widgets[class_name](parent)
        elif class_name.startswith("Q"):
            widget = super().createWidget(class_name, parent, name)
        else:
            raise LookupError(f"the stand-in shell has no {class_name} (widget {name!r})")
        widget.setObjectName(name)
        return widget

    def load(self, device: QtCore.QIODevice, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        tree = ElementTree.fromstring(bytes(device.readAll().data()))
        check_properties(tree)
        resolve_enums(tree)
        connections = take_connections(tree)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QtCore.QIODevice.ReadOnly)
        with pythonqt.loading():
            top = super().load(buffer, parent)
        if top is None:
            raise ValueError(self.errorString())
        for connection in connections:
            make_connection(top, connection["sender"], connection["signal"], connection["receiver"], connection["slot"])
        return top
