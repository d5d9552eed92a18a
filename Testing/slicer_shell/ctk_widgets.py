"""Stand-ins of the widgets of CTK (the Common Toolkit, of which panels in Slicer are made), as far as needed."""

# CTK's own names.
# ruff: noqa: N801, N802, N815

import types
from collections.abc import Callable
from typing import Any

from slicer_shell.pyside import QtCore, QtGui, QtWidgets
from slicer_shell.pythonqt import cpp_class
from slicer_shell.ui_loader import register_widgets

Property, Signal = QtCore.Property, QtCore.Signal

UNLIMITED_HEIGHT = (1 << 24) - 1


def kept(type_name: Any, default: Any, then: Callable[[Any, Any], None] | None = None) -> Property:
    """A property that is kept, and may be handed on when it is set: `then(self, value)`."""
    key = object()

    def get(self: Any) -> Any:
        return vars(self).get(key, default)

    def set_(self: Any, value: Any) -> None:
        vars(self)[key] = value
        if then is not None:
            then(self, value)

    return Property(type_name, get, set_)


def forwarded(type_name: Any, part: str, name: str) -> Property:
    """A property of one of the widgets that a stand-in is made of."""

    def get(self: Any) -> Any:
        return getattr(getattr(self, part), name)

    def set_(self: Any, value: Any) -> None:
        setattr(getattr(self, part), name, value)

    return Property(type_name, get, set_)


def in_a_row(widget: QtWidgets.QWidget, *parts: QtWidgets.QWidget) -> None:
    row = QtWidgets.QHBoxLayout(widget)
    row.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        row.addWidget(part)


@cpp_class
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header that hides and shows what lies under it."""

    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments: Any) -> None:
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        super().__init__(arguments[-1] if arguments and not isinstance(arguments[-1], str) else None)
        self._hidden_children = []
        self.text = text
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.checkable = self.checked = True
        self.setContentsMargins(0, self._header_height(), 0, 0)
        self.toggled.connect(lambda checked: self._collapse(not checked))

    def _header_height(self) -> int:
        return self.fontMetrics().height() + 8

    collapsed = Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))
    flat = kept(bool, False)

    def _collapse(self, collapsed: bool) -> None:
        self.maximumHeight = self._header_height() if collapsed else UNLIMITED_HEIGHT
        if collapsed:
            self._hide_children()
        else:
            for child in self._hidden_children:
                child.show()
            self._hidden_children = []
        self.contentsCollapsed.emit(collapsed)

    def _hide_children(self) -> None:
        visible = [child for child in self.children() if isinstance(child, QtWidgets.QWidget) and not child.isHidden()]
        for child in visible:
            child.hide()
        self._hidden_children += visible

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        super().showEvent(event)
        # A .ui file collapses the button before it fills it.
        if not self.checked:
            self._hide_children()

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        super().childEvent(event)
        if event.polished() and isinstance(event.child(), QtWidgets.QWidget):
            event.child().installEventFilter(self)

    def eventFilter(self, child: QtWidgets.QWidget, event: QtCore.QEvent) -> bool:
        """What is shown meanwhile is seen only once the button is no longer collapsed."""
        if event.type() == QtCore.QEvent.ShowToParent and not self.checked:
            child.hide()
            self._hidden_children.append(child)
        return False

    def sizeHint(self) -> QtCore.QSize:
        below = self.layout().totalSizeHint() if self.layout() and self.checked else QtCore.QSize(0, 0)
        return QtCore.QSize(max(below.width(), 120), max(below.height(), self._header_height()))

    def minimumSizeHint(self) -> QtCore.QSize:
        below = self.layout().totalMinimumSize() if self.layout() and self.checked else QtCore.QSize(0, 0)
        return QtCore.QSize(below.width(), max(below.height(), self._header_height()))

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() < self._header_height()

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        header = QtCore.QRect(0, 0, self.rect.width(), self._header_height())
        painter.fillRect(header, self.palette.color(QtGui.QPalette.Button).darker(108))
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, header.center().y() - 4, 9, 9)
        style = QtWidgets.QStyle
        painter.drawPrimitive(style.PE_IndicatorArrowDown if self.checked else style.PE_IndicatorArrowRight, arrow)
        painter.drawText(header.adjusted(22, 0, 0, 0), QtCore.Qt.AlignVCenter, self.text)


@cpp_class
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box whose title hides and shows what is in it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.checkable = self.checked = True
        self.toggled.connect(self._show_children)

    collapsed = Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))

    def _show_children(self, shown: bool) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(shown)
        self.maximumHeight = UNLIMITED_HEIGHT if shown else self.fontMetrics().height() + 8


@cpp_class
class ctkDoubleSlider(QtWidgets.QWidget):
    """A slider of real numbers."""

    valueChanged = Signal(float)
    sliderPressed = Signal()
    sliderReleased = Signal()

    def __init__(self, *arguments: Any) -> None:
        orientation = arguments[0] if arguments and isinstance(arguments[0], int) else QtCore.Qt.Horizontal
        super().__init__(arguments[-1] if arguments and not isinstance(arguments[-1], int) else None)
        self._range, self._step, self._value = (0.0, 99.0), 1.0, 0.0
        self._slider = QtWidgets.QSlider(orientation, self)
        in_a_row(self, self._slider)
        self._place()
        self._slider.valueChanged.connect(lambda steps: self._set_value(self._range[0] + steps * self._step))
        self._slider.sliderPressed.connect(self.sliderPressed.emit)
        self._slider.sliderReleased.connect(self.sliderReleased.emit)

    def _place(self) -> None:
        low, high = self._range
        was_blocked = self._slider.blockSignals(True)
        self._slider.setRange(0, round((high - low) / self._step))
        self._slider.setValue(round((self._value - low) / self._step))
        self._slider.blockSignals(was_blocked)

    def _set_value(self, value: float) -> None:
        value = min(max(value, self._range[0]), self._range[1])
        changed, self._value = value != self._value, value
        self._place()
        if changed:
            self.valueChanged.emit(value)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._range = (float(minimum), max(float(minimum), float(maximum)))
        self._set_value(self._value)

    def _set_step(self, step: float) -> None:
        self._step = step
        self._place()

    value = Property(float, lambda self: self._value, _set_value)
    minimum = Property(
        float, lambda self: self._range[0], lambda self, value: self.setRange(value, max(value, self._range[1]))
    )
    maximum = Property(
        float, lambda self: self._range[1], lambda self, value: self.setRange(min(value, self._range[0]), value)
    )
    singleStep = Property(float, lambda self: self._step, _set_step)
    pageStep = kept(float, 10.0)
    orientation = forwarded(int, "_slider", "orientation")
    tracking = forwarded(bool, "_slider", "tracking")


@cpp_class
class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    """A spin box of real numbers."""

    def setValue(self, value: float) -> None:
        # Else what is being typed would be written anew, as in Qt's own.
        if value != self.value:
            super().setValue(value)


@cpp_class
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box of the same number."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = ctkDoubleSlider(self)
        self._spin_box = ctkDoubleSpinBox(self)
        in_a_row(self, self._slider, self._spin_box)
        self._slider.valueChanged.connect(self._spin_box.setValue)
        self._spin_box.valueChanged.connect(self._follow_spin_box)

    def _follow_spin_box(self, value: float) -> None:
        self._slider.value = value
        self.valueIsChanging.emit(value)
        self.valueChanged.emit(value)

    def setRange(self, minimum: float, maximum: float) -> None:
        # The slider first: the spin box tells of its new value, which the slider must be able to take.
        was_blocked = self._slider.blockSignals(True)
        self._slider.setRange(minimum, maximum)
        self._slider.blockSignals(was_blocked)
        self._spin_box.setRange(minimum, maximum)

    def _set_step(self, step: float) -> None:
        self._slider.singleStep = self._spin_box.singleStep = step

    # By the box's method: its property would write anew what is being typed.
    value = Property(float, lambda self: self._spin_box.value, lambda self, value: self._spin_box.setValue(value))
    minimum = Property(
        float, lambda self: self._spin_box.minimum, lambda self, value: self.setRange(value, max(value, self.maximum))
    )
    maximum = Property(
        float, lambda self: self._spin_box.maximum, lambda self, value: self.setRange(min(value, self.minimum), value)
    )
    singleStep = Property(float, lambda self: self._spin_box.singleStep, _set_step)
    pageStep = forwarded(float, "_slider", "pageStep")
    decimals = forwarded(int, "_spin_box", "decimals")
    prefix = forwarded(str, "_spin_box", "prefix")
    suffix = forwarded(str, "_spin_box", "suffix")
    tracking = forwarded(bool, "_slider", "tracking")


@cpp_class
class ctkRangeWidget(QtWidgets.QWidget):
    """Two spin boxes: the ends of a range."""

    valuesChanged = Signal(float, float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._low, self._high = ctkDoubleSpinBox(self), ctkDoubleSpinBox(self)
        in_a_row(self, self._low, self._high)
        self._high.value = self._high.maximum
        self._low.valueChanged.connect(self._low_moved)
        self._high.valueChanged.connect(self._high_moved)

    def _low_moved(self, value: float) -> None:
        self._high.value = max(self._high.value, value)
        self.valuesChanged.emit(value, self._high.value)

    def _high_moved(self, value: float) -> None:
        self._low.value = min(self._low.value, value)
        self.valuesChanged.emit(self._low.value, value)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._low.setRange(minimum, maximum)
        self._high.setRange(minimum, maximum)

    minimum = Property(float, lambda self: self._low.minimum, lambda self, value: self.setRange(value, self.maximum))
    maximum = Property(float, lambda self: self._low.maximum, lambda self, value: self.setRange(self.minimum, value))
    decimals = Property(
        int,
        lambda self: self._low.decimals,
        lambda self, value: (self._low.setDecimals(value), self._high.setDecimals(value)),
    )
    singleStep = Property(
        float,
        lambda self: self._low.singleStep,
        lambda self, value: (self._low.setSingleStep(value), self._high.setSingleStep(value)),
    )


@cpp_class
class ctkPathLineEdit(QtWidgets.QWidget):
    """A line edit for a path, with a button that browses for it."""

    Dirs, Files, Drives, NoSymLinks = 0x1, 0x2, 0x4, 0x8
    Readable, Writable, Executable = 0x10, 0x20, 0x40
    Modified, Hidden, System, AllDirs, CaseSensitive, NoDot, NoDotDot = 0x80, 0x100, 0x200, 0x400, 0x800, 0x2000, 0x4000

    currentPathChanged = Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._edit = QtWidgets.QLineEdit(self)
        self._button = QtWidgets.QToolButton(self)
        self._button.text = "…"
        in_a_row(self, self._edit, self._button)
        self._edit.textChanged.connect(self.currentPathChanged.emit)
        self._button.clicked.connect(self.browse)

    filters = kept(int, 0)
    nameFilters = kept("QStringList", ())
    label = kept(str, "")
    currentPath = forwarded(str, "_edit", "text")
    showHistoryButton = kept(bool, True)

    def browse(self) -> None:
        """Asks for the path, as the button does."""
        dialog = QtWidgets.QFileDialog
        path = (
            dialog.getExistingDirectory(self, self.label, self.currentPath)
            if self.filters & self.Dirs and not self.filters & self.Files
            else dialog.getOpenFileName(self, self.label, self.currentPath, ";;".join(self.nameFilters))
        )
        if path:
            self.currentPath = path


@cpp_class
class ctkDirectoryButton(QtWidgets.QPushButton):
    """A button that shows a folder and browses for another."""

    directoryChanged = Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.clicked.connect(self.browse)

    def _set_directory(self, folder: str) -> None:
        if folder != self.text:
            self.text = folder
            self.directoryChanged.emit(folder)

    directory = Property(str, lambda self: self.text, _set_directory)
    caption = kept(str, "")

    def browse(self) -> None:
        """Asks for the folder, as a click does."""
        folder = QtWidgets.QFileDialog.getExistingDirectory(self, self.caption, self.directory)
        if folder:
            self.directory = folder


@cpp_class
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box."""


@cpp_class
class ctkCheckBox(QtWidgets.QCheckBox):
    """A check box."""


@cpp_class
class ctkPushButton(QtWidgets.QPushButton):
    """A push button."""


@cpp_class
class ctkCheckablePushButton(QtWidgets.QPushButton):
    """A push button with a check box in it."""


@cpp_class
class ctkMenuButton(QtWidgets.QPushButton):
    """A push button with a menu beside it."""


@cpp_class
class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """A text browser as high as its text."""

    collapsed = kept(bool, False)


@cpp_class
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box."""


WIDGETS = (
    ctkCheckablePushButton,
    ctkCheckBox,
    ctkCollapsibleButton,
    ctkCollapsibleGroupBox,
    ctkComboBox,
    ctkDirectoryButton,
    ctkDoubleSlider,
    ctkDoubleSpinBox,
    ctkFittedTextBrowser,
    ctkMenuButton,
    ctkMessageBox,
    ctkPathLineEdit,
    ctkPushButton,
    ctkRangeWidget,
    ctkSliderWidget,
)


def make_ctk_module() -> types.ModuleType:
    """The module to install as `ctk`."""
    register_widgets(*WIDGETS)
    ctk = types.ModuleType("ctk", "stand-ins of CTK's widgets")
    for widget in WIDGETS:
        setattr(ctk, widget.__name__, widget)
    return ctk
