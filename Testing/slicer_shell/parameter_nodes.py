"""`slicer.parameterNodeWrapper`: typed access to a parameter node, stored with the strings that Slicer stores.

The part of Slicer's wrapper that panels need: numbers, strings, booleans, paths, enums, nodes, unions of them, lists.
A type that is not among them raises TypeError here, also where Slicer has it (parameter packs, tuples, dictionaries).
"""

# Slicer's own names.
# ruff: noqa: N802, N803, N815

import enum
import pathlib
import types
import typing
from collections.abc import Callable, Iterable, MutableSequence
from dataclasses import dataclass, field
from typing import Any

import slicer
import vtk

# ---- annotations


class Validator:
    """A condition that a value has to meet."""

    def validate(self, value: Any) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Minimum(Validator):
    minimum: float

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"{value!r} is less than {self.minimum}")


@dataclass(frozen=True)
class Maximum(Validator):
    maximum: float

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"{value!r} is more than {self.maximum}")


@dataclass(frozen=True)
class WithinRange(Validator):
    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value!r} is not within {self.minimum} and {self.maximum}")


@dataclass(frozen=True)
class Choice(Validator):
    choices: Iterable[Any]

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of {self.choices}")


@dataclass(frozen=True)
class Exclude(Validator):
    excludedValues: Iterable[Any]

    def validate(self, value: Any) -> None:
        if value in self.excludedValues:
            raise ValueError(f"{value!r} is excluded")


@dataclass(frozen=True)
class Decimals:
    """How many decimals a widget shows."""

    value: int


@dataclass(frozen=True)
class SingleStep:
    """By how much a click changes a widget's number."""

    value: float


class Default:
    """What a parameter is before anybody sets it."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._make = generator or (lambda: value)

    @property
    def value(self) -> Any:
        return self._make()


def split_annotations(data_type: Any) -> tuple[Any, list[Any]]:
    """A type without its annotations, and these."""
    if typing.get_origin(data_type) is typing.Annotated:
        bare, *annotations = typing.get_args(data_type)
        return bare, annotations
    return data_type, []


def is_union(data_type: Any) -> bool:
    return typing.get_origin(data_type) in (typing.Union, types.UnionType)


def is_node_class(data_type: Any) -> bool:
    return isinstance(data_type, type) and issubclass(data_type, slicer.vtkMRMLNode)


# ---- how a type is stored


class Text:
    """A value as one string."""

    def __init__(self, accepted: type | tuple[type, ...], default: Any, read: Callable, write: Callable = str) -> None:
        self.accepted, self.default = accepted, default
        self._from_text, self._to_text = read, write

    def check(self, value: Any) -> None:
        if value is None:
            raise ValueError("the value must not be None")
        if not isinstance(value, self.accepted):
            raise TypeError(f"{value!r} is no {self.accepted}")

    def is_in(self, node: slicer.vtkMRMLNode, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node: slicer.vtkMRMLNode, name: str, value: Any) -> None:
        node.SetParameter(name, self._to_text(value))

    def read(self, node: slicer.vtkMRMLNode, name: str) -> Any:
        return self._from_text(node.GetParameter(name))

    def remove(self, node: slicer.vtkMRMLNode, name: str) -> None:
        node.UnsetParameter(name)


class NodeReference(Text):
    """A node as reference; an empty parameter of the same name tells that it was set."""

    def __init__(self, node_class: type) -> None:
        super().__init__(node_class, None, read=str)

    def check(self, value: Any) -> None:
        if value is not None:
            super().check(value)

    def write(self, node: slicer.vtkMRMLNode, name: str, value: Any) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, None if value is None else value.GetID())

    def read(self, node: slicer.vtkMRMLNode, name: str) -> Any:
        return node.GetNodeReference(name)

    def remove(self, node: slicer.vtkMRMLNode, name: str) -> None:
        super().remove(node, name)
        node.RemoveNodeReferenceIDs(name)


class Nothing(Text):
    """None, as a part of a union."""

    def __init__(self) -> None:
        super().__init__(types.NoneType, None, read=lambda _text: None, write=lambda _value: "True")

    def check(self, value: Any) -> None:
        if value is not None:
            raise ValueError(f"{value!r} is not None")


class Validated:
    """A storage whose values have to meet the conditions that the type is annotated with."""

    def __init__(self, storage: Any, validators: list[Validator]) -> None:
        self.storage, self.validators = storage, validators
        self.default = storage.default
        self.is_in, self.read, self.remove = storage.is_in, storage.read, storage.remove

    def check(self, value: Any) -> None:
        self.storage.check(value)
        for validator in self.validators:
            validator.validate(value)

    def write(self, node: slicer.vtkMRMLNode, name: str, value: Any) -> None:
        self.check(value)
        self.storage.write(node, name, value)


class Union:
    """One of several types, each under its own number."""

    def __init__(self, members: list[Validated]) -> None:
        self.members = members
        optional = len(members) == 2 and isinstance(members[1].storage, Nothing)
        self.default = None if optional else members[0].default

    def _index(self, value: Any) -> int:
        candidates = [index for index, member in enumerate(self.members) if takes(member.storage, value)]
        for index in candidates[:-1]:
            try:
                self.members[index].check(value)
            except (TypeError, ValueError):
                continue
            return index
        if not candidates:
            raise TypeError(f"no type of the union takes {value!r}")
        self.members[candidates[-1]].check(value)
        return candidates[-1]

    def check(self, value: Any) -> None:
        self._index(value)

    def is_in(self, node: slicer.vtkMRMLNode, name: str) -> bool:
        return any(member.is_in(node, f"{name}.{index}") for index, member in enumerate(self.members))

    def write(self, node: slicer.vtkMRMLNode, name: str, value: Any) -> None:
        chosen = self._index(value)
        self.remove(node, name)
        self.members[chosen].write(node, f"{name}.{chosen}", value)

    def read(self, node: slicer.vtkMRMLNode, name: str) -> Any:
        for index, member in enumerate(self.members):
            if member.is_in(node, f"{name}.{index}"):
                return member.read(node, f"{name}.{index}")
        raise KeyError(f"the parameter node has no {name}")

    def remove(self, node: slicer.vtkMRMLNode, name: str) -> None:
        for index, member in enumerate(self.members):
            member.remove(node, f"{name}.{index}")


def takes(storage: Any, value: Any) -> bool:
    """Whether a member of a union is the one for a value; a bool is no number there, and None no node."""
    if isinstance(value, bool) and getattr(storage, "accepted", None) is not bool:
        return False
    return isinstance(value, getattr(storage, "accepted", ()))


class List:
    """A list: its length, and each element under its number."""

    accepted = MutableSequence

    def __init__(self, element: Validated) -> None:
        self.element = element

    @property
    def default(self) -> list[Any]:
        return []

    def check(self, value: Any) -> None:
        for item in value:
            self.element.check(item)

    def is_in(self, node: slicer.vtkMRMLNode, name: str) -> bool:
        return bool(node.HasParameter(f"{name}.len"))

    def _length(self, node: slicer.vtkMRMLNode, name: str) -> int:
        return int(node.GetParameter(f"{name}.len") or 0)

    def write(self, node: slicer.vtkMRMLNode, name: str, values: Iterable[Any]) -> None:
        values = list(values)
        for index in range(len(values), self._length(node, name)):
            self.element.remove(node, f"{name}.{index}")
        for index, value in enumerate(values):
            self.element.write(node, f"{name}.{index}", value)
        node.SetParameter(f"{name}.len", str(len(values)))

    def read(self, node: slicer.vtkMRMLNode, name: str) -> "ObservedList":
        length = self._length(node, name)
        items = [self.element.read(node, f"{name}.{index}") for index in range(length)]
        return ObservedList(items, lambda values: write_at_once(self, node, name, values))

    def remove(self, node: slicer.vtkMRMLNode, name: str) -> None:
        for index in range(self._length(node, name)):
            self.element.remove(node, f"{name}.{index}")
        node.UnsetParameter(f"{name}.len")


class ObservedList(MutableSequence):
    """A list that writes itself to the parameter node whenever it changes."""

    def __init__(self, items: list[Any], save: Callable[[list[Any]], None]) -> None:
        self._items, self._save = items, save

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._items[index] = value
        self._save(self._items)

    def __delitem__(self, index: Any) -> None:
        del self._items[index]
        self._save(self._items)

    def insert(self, index: int, value: Any) -> None:
        self._items.insert(index, value)
        self._save(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == (other._items if isinstance(other, ObservedList) else other)

    def __repr__(self) -> str:
        return f"ObservedList({self._items})"


def write_at_once(storage: Any, node: slicer.vtkMRMLNode, name: str, value: Any) -> None:
    """Writes a value so that observers of the node hear of it once, and not at all if it is refused."""
    storage.check(value)
    with slicer.util.NodeModify(node):
        storage.write(node, name, value)


def storage_for(data_type: Any) -> Validated:
    """How values of a type, annotated or not, are stored. Raises TypeError for a type that the stand-in lacks."""
    bare, annotations = split_annotations(data_type)
    return Validated(bare_storage(bare), [note for note in annotations if isinstance(note, Validator)])


def bare_storage(data_type: Any) -> Any:
    if is_union(data_type):
        return Union([storage_for(member) for member in typing.get_args(data_type)])
    if typing.get_origin(data_type) is list:
        return List(storage_for(typing.get_args(data_type)[0]))
    if data_type is bool:
        return Text(bool, False, read=lambda text: text == "True")
    if data_type is int:
        return Text(int, 0, read=int)
    if data_type is float:
        return Text((int, float), 0, read=float)
    if data_type is str:
        return Text(str, "", read=str)
    if data_type is types.NoneType:
        return Nothing()
    if is_node_class(data_type):
        return NodeReference(data_type)
    if isinstance(data_type, type) and issubclass(data_type, enum.Enum):
        return Text(data_type, next(iter(data_type)), read=data_type.__getitem__, write=lambda value: value.name)
    if isinstance(data_type, type) and issubclass(data_type, pathlib.PurePath):
        return Text(data_type, data_type(), read=data_type)
    raise TypeError(f"the stand-in of Slicer's parameter node wrapper stores no {data_type}")


# ---- the wrapper


@dataclass
class Parameter:
    """One field of a parameter node class."""

    name: str
    data_type: Any
    storage: Validated
    default: Default
    annotations: list[Any] = field(default_factory=list)


class ParameterNode:
    """What a class gets from `@parameterNodeWrapper`; made for a `vtkMRMLScriptedModuleNode`."""

    allParameters: typing.ClassVar[dict[str, Parameter]]

    def __init__(self, parameterNode: slicer.vtkMRMLNode, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._prefix = prefix or ""
        self._guis: dict[int, tuple[list[Any], int]] = {}
        self._next_gui = 0
        for name, parameter in self.allParameters.items():
            if not parameter.storage.is_in(parameterNode, self._prefix + name):
                self.setValue(name, parameter.default.value)

    def getValue(self, name: str) -> Any:
        return self._parameter(name).storage.read(self.parameterNode, self._prefix + name)

    def setValue(self, name: str, value: Any) -> None:
        write_at_once(self._parameter(name).storage, self.parameterNode, self._prefix + name, value)

    def default(self, name: str) -> Default:
        return self._parameter(name).default

    @classmethod
    def dataType(cls, name: str) -> Any:
        return cls._parameter(name).data_type

    @classmethod
    def _parameter(cls, name: str) -> Parameter:
        if name not in cls.allParameters:
            raise ValueError(f"no parameter is called {name!r}, but {list(cls.allParameters)}")
        return cls.allParameters[name]

    def connectGui(self, gui: Any) -> int:
        """Connects the widgets, below a widget or in an object, whose `SlicerParameterName` names a parameter."""
        from slicer_shell.parameter_gui import widgets_of_parameters

        return self.connectParametersToGui(widgets_of_parameters(gui))

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Connects parameters, by name, with widgets, both ways. Returns the tag for `disconnectGui`."""
        from slicer_shell.parameter_gui import GuiBinding

        binding = GuiBinding(self, mapping)
        tag, self._next_gui = self._next_gui, self._next_gui + 1
        self._guis[tag] = (binding, self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: binding.update()))
        return tag

    def disconnectGui(self, tag: int) -> None:
        binding, observer = self._guis.pop(tag, (None, None))
        if binding is not None:
            binding.disconnect()
            self.RemoveObserver(observer)

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, was_modified: int) -> int:
        return self.parameterNode.EndModify(was_modified)

    def AddObserver(self, event: int, callback: Callable, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def make_parameter(cls: type, name: str, data_type: Any) -> Parameter:
    storage = storage_for(data_type)
    annotations = split_annotations(data_type)[1]
    annotated = next(
        (note for note in annotations if isinstance(note, Default)), Default(generator=lambda: storage.default)
    )
    default = Default(getattr(cls, name)) if hasattr(cls, name) else annotated
    return Parameter(name, data_type, storage, default, annotations)


def parameterNodeWrapper(cls: type | None = None) -> Any:
    """Class decorator: the annotated fields of the class become parameters of the node that it is made for."""
    if cls is None:
        return parameterNodeWrapper
    hints = typing.get_type_hints(cls, include_extras=True)
    for name in vars(ParameterNode):
        if not name.startswith("_") and (name in hints or hasattr(cls, name)):
            raise ValueError(f"Cannot use reserved name {name!r} in a parameterNodeWrapper")
    parameters = {name: make_parameter(cls, name, data_type) for name, data_type in hints.items()}
    properties = {
        name: property(
            lambda self, name=name: self.getValue(name), lambda self, value, name=name: self.setValue(name, value)
        )
        for name in parameters
    }
    contents = {"allParameters": parameters, "__module__": cls.__module__, "__doc__": cls.__doc__, **properties}
    return type(cls.__name__, (ParameterNode, cls), contents)


def isParameterNodeWrapper(value: Any) -> bool:
    return isinstance(value, ParameterNode) or (isinstance(value, type) and issubclass(value, ParameterNode))


PUBLIC = (
    Choice,
    Decimals,
    Default,
    Exclude,
    Maximum,
    Minimum,
    SingleStep,
    Validator,
    WithinRange,
    isParameterNodeWrapper,
    parameterNodeWrapper,
)


def make_module() -> types.ModuleType:
    """The module to install as `slicer.parameterNodeWrapper`."""
    module = types.ModuleType("slicer.parameterNodeWrapper", "stand-in of Slicer's parameter node wrapper")
    for value in PUBLIC:
        setattr(module, value.__name__, value)
    module.SlicerParameterNamePropertyName = "SlicerParameterName"
    return module
