"""Parameters of a parameter node and widgets, kept equal, for the pairs of types that Slicer connects.

Like Slicer's, the connection sets the widget's range, decimals and choices from the annotations of the type.
"""

import enum
import pathlib
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer

from slicer_shell import ctk_widgets as ctk
from slicer_shell import qmrml_widgets as qmrml
from slicer_shell.parameter_nodes import (
    Choice,
    Decimals,
    Maximum,
    Minimum,
    SingleStep,
    WithinRange,
    is_node_class,
    is_union,
    split_annotations,
)
from slicer_shell.pyside import QtWidgets as qt

INT_LIMITS = (-(2**31), 2**31 - 1)
FLOAT_LIMITS = (float("-inf"), float("inf"))


@dataclass
class Connector:
    """How one widget shows one parameter. The signal tells of a change; a label has none."""

    widget: Any
    signal: str | None
    read: Callable[[], Any]
    write: Callable[[Any], None]


def widgets_of_parameters(gui: Any) -> dict[str, Any]:
    """Parameter name -> widget, of the children of a widget or of the attributes of an object."""
    widgets = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QWidget) else vars(gui).values()
    named = [(widget.property("SlicerParameterName"), widget) for widget in widgets]
    return {name: widget for name, widget in named if name}


class GuiBinding:
    """Widgets connected with parameters of one node. Raises RuntimeError for a pair that Slicer does not connect."""

    def __init__(self, parameters: Any, mapping: dict[str, Any]) -> None:
        self._parameters = parameters
        self._updating = False
        self._connectors = {name: make_connector(widget, parameters.dataType(name)) for name, widget in mapping.items()}
        self._slots = {name: self._slot(name) for name in mapping}
        for name, connector in self._connectors.items():
            connector.write(parameters.getValue(name))
            if connector.signal:
                getattr(connector.widget, connector.signal).connect(self._slots[name])

    def _slot(self, name: str) -> Callable[[], None]:
        def store() -> None:
            if not self._updating:
                self._parameters.setValue(name, self._connectors[name].read())

        return store

    def update(self) -> None:
        """Shows the parameters' values."""
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self._parameters):
                for name, connector in self._connectors.items():
                    connector.write(self._parameters.getValue(name))
        finally:
            self._updating = False

    def disconnect(self) -> None:
        for name, connector in self._connectors.items():
            if connector.signal:
                getattr(connector.widget, connector.signal).disconnect(self._slots[name])


def make_connector(widget: Any, data_type: Any) -> Connector:
    """The connector of a widget and a type, annotated or not."""
    bare, annotations = split_annotations(data_type)
    for widget_types, takes, connector in CONNECTORS:
        # Exactly these classes, as in Slicer: a class derived from one is not connected.
        if type(widget) in widget_types and takes(bare):
            return connector(widget, bare, annotations)
    raise RuntimeError(f"Unable to create GUI connector from datatype {data_type} to widget type {type(widget)}")


def annotation(annotations: list[Any], kind: type) -> Any:
    return next((note for note in annotations if isinstance(note, kind)), None)


def range_of(annotations: list[Any]) -> tuple[float | None, float | None]:
    """The ends that the annotations set; None where they leave one open."""
    within = annotation(annotations, WithinRange)
    low, high = annotation(annotations, Minimum), annotation(annotations, Maximum)
    if within is not None:
        return within.minimum, within.maximum
    return low and low.minimum, high and high.maximum


def set_range(widget: Any, annotations: list[Any], limits: tuple[float, float], bounded: bool) -> None:
    low, high = range_of(annotations)
    if bounded and (low is None or high is None):
        raise RuntimeError(f"{type(widget).__name__} needs a parameter with minimum and maximum")
    widget.minimum = limits[0] if low is None else low
    widget.maximum = limits[1] if high is None else high


def property_connector(widget: Any, name: str, signal: str | None, convert: Callable[[Any], Any]) -> Connector:
    def write(value: Any) -> None:
        setattr(widget, name, value)

    return Connector(widget, signal, lambda: convert(getattr(widget, name)), write)


def check_box(widget: Any, _data_type: type, _annotations: list[Any]) -> Connector:
    return property_connector(widget, "checked", "toggled", bool)


def push_button(widget: Any, _data_type: type, _annotations: list[Any]) -> Connector:
    widget.checkable = True
    return property_connector(widget, "checked", "toggled", bool)


def whole_number(widget: Any, _data_type: type, annotations: list[Any]) -> Connector:
    set_range(widget, annotations, INT_LIMITS, bounded=type(widget) is qt.QSlider)
    step = annotation(annotations, SingleStep)
    if step is not None:
        widget.singleStep = step.value
    return property_connector(widget, "value", "valueChanged", int)


def number(widget: Any, data_type: type, annotations: list[Any]) -> Connector:
    decimals, step = annotation(annotations, Decimals), annotation(annotations, SingleStep)
    if type(widget) is not ctk.ctkDoubleSlider and (data_type is int or decimals is not None):
        widget.decimals = 0 if data_type is int else decimals.value
    if step is not None:
        widget.singleStep = step.value
    set_range(widget, annotations, FLOAT_LIMITS, bounded=type(widget) in (ctk.ctkSliderWidget, qmrml.qMRMLSliderWidget))
    return property_connector(widget, "value", "valueChanged", data_type)


def choice_connector(widget: Any, labels: list[str], values: list[Any]) -> Connector:
    def write(value: Any) -> None:
        if value not in values:
            raise ValueError(f"{value!r} is none of {values}")
        widget.currentIndex = values.index(value)

    widget.clear()
    widget.addItems(labels)
    return Connector(widget, "currentIndexChanged", lambda: values[widget.currentIndex], write)


def choice(widget: Any, _data_type: type, annotations: list[Any]) -> Connector:
    choices = annotation(annotations, Choice)
    if choices is None:
        raise RuntimeError("a combo box needs a parameter with the annotation Choice")
    values = list(choices.choices)
    return choice_connector(widget, [str(value) for value in values], values)


def enum_choice(widget: Any, data_type: type[enum.Enum], _annotations: list[Any]) -> Connector:
    values = list(data_type)
    label = getattr(data_type, "label", lambda value: value.name)
    return choice_connector(widget, [label(value) for value in values], values)


def line_edit(widget: Any, _data_type: type, _annotations: list[Any]) -> Connector:
    def write(value: str) -> None:
        # The one connection that looks first: setting a line edit to its own text would move the cursor.
        if widget.text != value:
            widget.text = value

    return Connector(widget, "textChanged", lambda: widget.text, write)


def label(widget: Any, _data_type: type, _annotations: list[Any]) -> Connector:
    return property_connector(widget, "text", None, str)


def text_edit(widget: Any, _data_type: type, _annotations: list[Any]) -> Connector:
    return Connector(widget, "textChanged", widget.toPlainText, widget.setPlainText)


def path_edit(widget: Any, data_type: type, _annotations: list[Any]) -> Connector:
    read, write = (lambda: data_type(widget.currentPath)), (lambda value: widget.setCurrentPath(str(value)))
    return Connector(widget, "currentPathChanged", read, write)


def directory_button(widget: Any, data_type: type, _annotations: list[Any]) -> Connector:
    read, write = (lambda: data_type(widget.directory)), (lambda value: widget.setDirectory(str(value)))
    return Connector(widget, "directoryChanged", read, write)


def node_choice(widget: Any, data_type: Any, _annotations: list[Any]) -> Connector:
    members = typing.get_args(data_type) if is_union(data_type) else [data_type]
    widget.nodeTypes = [member.__name__ for member in members if is_node_class(member)]
    return Connector(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)


def is_path(data_type: Any) -> bool:
    return isinstance(data_type, type) and issubclass(data_type, pathlib.PurePath)


def is_enum(data_type: Any) -> bool:
    return isinstance(data_type, type) and issubclass(data_type, enum.Enum)


def is_node(data_type: Any) -> bool:
    """A node class, or a union of node classes and None."""
    members = typing.get_args(data_type) if is_union(data_type) else [data_type]
    return all(is_node_class(member) or member is type(None) for member in members)


def one_of(*data_types: type) -> Callable[[Any], bool]:
    return lambda data_type: data_type in data_types


CONNECTORS = (
    ((qt.QCheckBox, ctk.ctkCheckBox), one_of(bool), check_box),
    ((qt.QPushButton,), one_of(bool), push_button),
    ((qt.QSlider, qt.QSpinBox), one_of(int), whole_number),
    (
        (
            qt.QDoubleSpinBox,
            ctk.ctkSliderWidget,
            ctk.ctkDoubleSlider,
            ctk.ctkDoubleSpinBox,
            qmrml.qMRMLSliderWidget,
            qmrml.qMRMLSpinBox,
        ),
        one_of(float, int),
        number,
    ),
    ((qt.QComboBox, ctk.ctkComboBox), one_of(int, float, str, bool), choice),
    ((qt.QComboBox, ctk.ctkComboBox), is_enum, enum_choice),
    ((qt.QLineEdit,), one_of(str), line_edit),
    ((qt.QLabel,), one_of(str), label),
    ((qt.QTextEdit,), one_of(str), text_edit),
    ((ctk.ctkPathLineEdit,), is_path, path_edit),
    ((ctk.ctkDirectoryButton,), is_path, directory_button),
    ((qmrml.qMRMLNodeComboBox,), is_node, node_choice),
)
