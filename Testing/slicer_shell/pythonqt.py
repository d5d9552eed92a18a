"""The `qt` module of the stand-in shell: PySide6 that behaves as PythonQt does in 3D Slicer.

Qt properties are Python attributes (`button.text`, no call), setters are kept, `connect` takes signatures, enums are
ints. Where PythonQt only warns (an unknown signal), this raises: a test must not pass over it. An exception in a slot
does not reach the caller, as in Slicer; it is kept in `signals.slot_errors`.
"""

import contextlib
import functools
import inspect
import numbers
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from slicer_shell import dialogs
from slicer_shell.pyside import QtCore, QtGui, QtNetwork, QtSvg, QtWidgets, shiboken6
from slicer_shell.signals import slot_errors

QT6_ONLY_SIGNALS = {"checkStateChanged", "colorSchemeChanged"}

raw_connect = QtCore.QObject.connect
raw_disconnect = QtCore.QObject.disconnect
raw_property = QtCore.QObject.property
raw_set_property = QtCore.QObject.setProperty
raw_make_button_box = QtWidgets.QDialogButtonBox.__init__
raw_make_timer = QtCore.QTimer.__init__


# ---- signals and slots


def argument_limit(callback: Callable) -> int | None:
    """How many arguments PythonQt hands to a callback at most: it looks at functions and methods only."""
    if not isinstance(callback, types.FunctionType | types.MethodType):
        return None
    code = getattr(callback.__func__ if isinstance(callback, types.MethodType) else callback, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARARGS:
        return None
    return code.co_argcount - isinstance(callback, types.MethodType)


def guarded(callback: Callable) -> Callable:
    """The callback as a slot: it gets as many arguments as it takes, and its exception ends in `slot_errors`."""
    limit = argument_limit(callback)

    def slot(*arguments: Any) -> None:
        try:
            callback(*arguments[:limit])
        except Exception:
            slot_errors.append(traceback.format_exc())
            print(slot_errors[-1], file=sys.stderr)

    return slot


def signal_signature(sender: QtCore.QObject, wanted: str) -> str:
    """The signature as Qt knows it, of a signal given by name or by C++ signature.

    Raises AttributeError for a signal that does not exist or exists in one of Qt 5 and Qt 6 only.
    """
    meta = sender.metaObject()
    name = wanted.partition("(")[0].strip()
    signals = [
        bytes(method.methodSignature().data()).decode()
        for method in map(meta.method, range(meta.methodCount()))
        if method.methodType() == QtCore.QMetaMethod.Signal and bytes(method.name().data()).decode() == name
    ]
    if not signals or name in QT6_ONLY_SIGNALS:
        raise AttributeError(f"{type(sender).__name__} has no signal {wanted!r}")
    if "(" not in wanted:
        return signals[0]
    normalized = bytes(QtCore.QMetaObject.normalizedSignature(wanted).data()).decode()
    # A stand-in's signal carries an object of VTK as an object of Python.
    signature = getattr(type(sender), "cpp_signals", {}).get(normalized, normalized)
    if signature not in signals:
        raise AttributeError(f"{type(sender).__name__} has no signal {wanted!r}, but {signals}")
    return signature


# What a sender's callbacks were wrapped into; without it they could not be disconnected.
connections: dict[int, list[tuple[str, Callable, Callable]]] = {}


def connect(sender: QtCore.QObject, signal: str, receiver: Any, slot: str | None = None) -> bool:
    """`sender.connect(signal, callback)` or `sender.connect(signal, receiver, 'slot(type)')`."""
    callback = receiver if slot is None else getattr(receiver, slot.partition("(")[0])
    if not callable(callback):
        raise TypeError(f"{callback!r} can not be called when {signal} is emitted")
    signature = signal_signature(sender, signal)
    wrapped = guarded(callback)
    pointer = shiboken6.getCppPointer(sender)[0]
    if pointer not in connections:
        connections[pointer] = []
        raw_connect(sender, QtCore.SIGNAL("destroyed()"), lambda: connections.pop(pointer, None))
    connections[pointer].append((signature, callback, wrapped))
    raw_connect(sender, QtCore.SIGNAL(signature), wrapped)
    return True


def disconnect(sender: QtCore.QObject, signal: str, callback: Callable | None = None) -> bool:
    """Disconnects a callback, or all callbacks; False where there was none."""
    signature = signal_signature(sender, signal)
    known = connections.get(shiboken6.getCppPointer(sender)[0], [])
    found = [entry for entry in known if entry[0] == signature and callback in (None, entry[1])]
    for entry in found:
        raw_disconnect(sender, QtCore.SIGNAL(signature), entry[2])
        known.remove(entry)
    return bool(found)


class BoundSignal:
    """A signal of one object, as `button.clicked` gives it."""

    def __init__(self, sender: QtCore.QObject, name: str, raw: Any):
        self.sender, self.name, self.raw = sender, name, raw

    def connect(self, callback: Callable) -> bool:
        return connect(self.sender, self.name, callback)

    def disconnect(self, callback: Callable | None = None) -> bool:
        return disconnect(self.sender, self.name, callback)

    def emit(self, *arguments: Any) -> None:
        self.raw.emit(*arguments)

    __call__ = emit

    def __getitem__(self, overload: Any) -> "BoundSignal":
        return BoundSignal(self.sender, self.name, self.raw[overload])


# ---- properties


# Everything is taken for a string or a bool.
COERCIONS: dict[str, type] = {
    "int": int,
    "uint": int,
    "qlonglong": int,
    "double": float,
    "float": float,
    "bool": bool,
    "QString": str,
}


def coerce(value: Any, type_name: str) -> Any:
    """The value as a property of the C++ type takes it from Python; raises ValueError where it does not.

    For an int 30.7 is taken, numpy's integers are, and numpy's other numbers are not; for a double all numbers.
    """
    convert = COERCIONS.get(type_name)
    if convert is int:
        is_taken = isinstance(value, numbers.Integral) or type(value) is float
    else:
        is_taken = convert is not float or isinstance(value, numbers.Real | np.bool_)
    if not is_taken:
        raise ValueError(f"what is of type {type_name} does not accept {value!r} of {type(value).__name__}")
    return convert(value) if convert else value


class PropertyAttribute:
    """A Qt property as a Python attribute; on the class it is what it hides (a static method, a virtual getter)."""

    def __init__(self, name: str, type_name: str, writable: bool, getter: Callable | None, hidden: Any):
        self.name, self.type_name, self.writable = name, type_name, writable
        self.getter, self.hidden = getter, hidden

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self if self.hidden is None else self.hidden
        return self.getter(instance) if self.getter else raw_property(instance, self.name)

    def __set__(self, instance: Any, value: Any) -> None:
        if not self.writable:
            raise AttributeError(f"property {self.name!r} of {type(instance).__name__} is not writable")
        try:
            is_set = raw_set_property(instance, self.name, coerce(value, self.type_name))
        except ValueError:
            is_set = False
        if not is_set:
            raise AttributeError(f"property {self.name!r} of type {self.type_name} does not accept {value!r}")


def shadowed_properties(cls: type) -> list[QtCore.QMetaProperty]:
    """The properties that a class declares, and the inherited ones whose getter it has anew (QPushButton.sizeHint)."""
    meta = cls.staticMetaObject
    properties = map(meta.property, range(meta.propertyCount()))
    return [
        p
        for p in properties
        if p.propertyIndex() >= meta.propertyOffset() or type(vars(cls).get(p.name())).__name__ == "method_descriptor"
    ]


def coercing(setter: Callable, type_name: str) -> Callable:
    """A setter that takes what PythonQt's takes."""

    def set_property(self: Any, *arguments: Any) -> Any:
        if len(arguments) == 1:
            arguments = (coerce(arguments[0], type_name),)
        return setter(self, *arguments)

    return set_property


def expose_property(cls: type, qt_property: QtCore.QMetaProperty) -> None:
    name, type_name = qt_property.name(), qt_property.typeName()
    capital = name[0].upper() + name[1:]
    hidden = getattr(cls, name, None)
    # The getter knows types that a property's variant loses; a static namesake (QTimer.singleShot) is no getter.
    getter = hidden if type(hidden).__name__ == "method_descriptor" else None
    setattr(cls, name, PropertyAttribute(name, type_name, qt_property.isWritable(), getter, hidden))
    setter = getattr(cls, f"set{capital}", None)
    if setter is not None and type_name in COERCIONS:
        setattr(cls, f"set{capital}", coercing(setter, type_name))


def patch_class(cls: type) -> None:
    """Makes one class derived from QObject look as PythonQt shows it."""
    for qt_property in shadowed_properties(cls):
        expose_property(cls, qt_property)


def is_cpp_class(cls: type) -> bool:
    """Whether a class stands for one of C++, on which Python code must not set attributes of its own."""
    return cls.__module__.startswith("PySide6.") or "cpp_class" in vars(cls)


def cpp_class(cls: type) -> type:
    """Class decorator: this stand-in is a C++ class in Slicer. Adds the setters that a C++ class has."""
    cls.cpp_class = True
    # Noted now: PySide replaces this object when the first widget is made.
    meta = cls.staticMetaObject
    properties = map(meta.property, range(meta.propertyCount()))
    cls.cpp_types = {qt_property.name(): qt_property.typeName() for qt_property in properties}
    for name, value in list(vars(cls).items()):
        setter_name = f"set{name[0].upper()}{name[1:]}"
        if type(value) is QtCore.Property and not hasattr(cls, setter_name):
            setattr(cls, setter_name, lambda self, value, name=name: setattr(self, name, value))
    return cls


def attribute_lookup(raw_lookup: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Lookup of attributes over a class's own one, which some classes (QFile, QMenu) have in C."""

    def get_attribute(self: Any, name: str) -> Any:
        # PySide wires these two in C, past the class.
        if name == "connect":
            return functools.partial(connect, self)
        if name == "disconnect":
            return functools.partial(disconnect, self)
        value = raw_lookup(self, name)
        return BoundSignal(self, name, value) if type(value) is QtCore.SignalInstance else value

    return get_attribute


loader_at_work = False


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """While a .ui file is loaded: PySide makes each child an attribute of the top widget, PythonQt does not."""
    global loader_at_work
    loader_at_work = True
    try:
        yield
    finally:
        loader_at_work = False


def set_attribute(self: Any, name: str, value: Any) -> None:
    cls = type(self)
    attribute = inspect.getattr_static(cls, name, None)
    if type(attribute) is QtCore.Property:
        if attribute.fset is None:
            raise AttributeError(f"property {name!r} of {cls.__name__} is not writable")
        attribute.fset(self, coerce(value, cls.cpp_types[name]))
    elif hasattr(attribute, "__set__"):
        attribute.__set__(self, value)
    elif not is_cpp_class(cls) or is_private_of_stand_in(cls, name) or type(value) is QtCore.SignalInstance:
        # PySide keeps a signal at the object from its first use.
        vars(self)[name] = value
    elif not loader_at_work:
        raise AttributeError(
            f"Property {name!r} does not exist on {cls.__name__}, "
            "and creating new attributes on C++ objects is not allowed"
        )


def is_private_of_stand_in(cls: type, name: str) -> bool:
    return name.startswith("_") and not cls.__module__.startswith("PySide6.")


# ---- the module


def qobject_classes(*modules: types.ModuleType) -> list[type]:
    """All classes of the modules that derive from QObject, bases first."""
    found = {
        value
        for module in modules
        for value in (getattr(module, name) for name in dir(module))
        if isinstance(value, type) and issubclass(value, QtCore.QObject)
    }
    return sorted(found, key=lambda cls: len(cls.__mro__))


def delete(self: QtCore.QObject) -> None:
    shiboken6.delete(self)


def class_name(self: QtCore.QObject) -> str:
    return type(self).__name__


def single_shot(milliseconds: float, callback: Callable) -> None:
    """`QTimer.singleShot` as Slicer makes it: its timer, and the callback with it, is kept until Slicer ends."""
    timer = QtCore.QTimer(QtCore.QCoreApplication.instance())
    timer.setSingleShot(True)
    connect(timer, "timeout()", callback)
    timer.start(int(milliseconds))


def make_timer(self: QtCore.QTimer, parent: Any = None) -> None:
    """`QTimer(parent)`. Slicer's module manager is a QObject; Qt's application stands in for it."""
    raw_make_timer(self, parent if isinstance(parent, QtCore.QObject | None) else QtCore.QCoreApplication.instance())


def make_button_box(self: QtWidgets.QDialogButtonBox, *arguments: Any) -> None:
    """`QDialogButtonBox(...)`: of several constructors that take a number, PythonQt chooses the one added last."""
    if len(arguments) == 1 and isinstance(arguments[0], int):
        raise TypeError("PythonQt takes these buttons for an orientation and shows none: call setStandardButtons")
    raw_make_button_box(self, *arguments)


def patch_pyside(classes: list[type]) -> None:
    for cls in classes:
        if "__getattribute__" in vars(cls):
            cls.__getattribute__ = attribute_lookup(cls.__getattribute__)
        if "__setattr__" in vars(cls):
            cls.__setattr__ = set_attribute
        if "exec_" in vars(cls):
            cls.exec_ = cls.exec  # PySide's own warns that it is deprecated; PythonQt has only this one under Qt 5
        patch_class(cls)
    # PythonQt leaves this property out, for the sake of the method of that name.
    vars(QtCore.QTimer)["singleShot"].hidden = single_shot
    vars(QtCore.QTimer)["singleShot"].writable = False
    QtWidgets.QDialogButtonBox.__init__ = make_button_box
    QtCore.QTimer.__init__ = make_timer
    base = QtCore.QObject
    base.className, base.delete = class_name, delete
    base.name = PropertyAttribute("objectName", "QString", True, None, None)


@functools.cache
def make_qt_module() -> types.ModuleType:
    """The module to install as `qt`. Makes the application, without a display."""
    from slicer_shell.ui_loader import UiLoader

    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    modules = (QtCore, QtGui, QtWidgets, QtNetwork, QtSvg)
    patch_pyside(qobject_classes(*modules))
    dialogs.patch(QtWidgets)
    qt = types.ModuleType("qt", "Qt as PythonQt shows it, over PySide6")
    for module in modules:
        for name in dir(module):
            if name.startswith("Q"):
                setattr(qt, name, getattr(module, name))
    for name in ("Signal", "Slot", "Property", "QtMsgType"):
        vars(qt).pop(name, None)
    qt.QUiLoader = UiLoader
    qt.application = QtWidgets.QApplication(["Slicer"])
    return qt
