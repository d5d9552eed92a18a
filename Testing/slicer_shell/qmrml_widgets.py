"""Stand-ins of Slicer's widgets for nodes of the scene, over the real scene and nodes."""

# Slicer's own names.
# ruff: noqa: N801, N802, N815

import string
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import slicer
import vtk

from slicer_shell.ctk_widgets import ctkDoubleSpinBox, ctkMenuButton, ctkRangeWidget, ctkSliderWidget, in_a_row, kept
from slicer_shell.pyside import QtCore, QtGui, QtWidgets
from slicer_shell.pythonqt import cpp_class
from slicer_shell.ui_loader import register_widgets

Property, Signal = QtCore.Property, QtCore.Signal
Scene = slicer.vtkMRMLScene

SCENE_EVENTS = (
    Scene.NodeAddedEvent,
    Scene.NodeRemovedEvent,
    Scene.EndBatchProcessEvent,
    Scene.EndCloseEvent,
    Scene.EndImportEvent,
    Scene.EndRestoreEvent,
)


class Observers:
    """Observers of VTK objects that end with the widget that has them."""

    def __init__(self, widget: QtWidgets.QWidget) -> None:
        self._tags: list[tuple[vtk.vtkObject, int]] = []
        widget.destroyed.connect(self.clear)

    def add(self, observed: vtk.vtkObject, event: int, callback: Callable[..., None], priority: float = 0.0) -> None:
        heard = callback if hasattr(callback, "CallDataType") else lambda *_: callback()
        self._tags.append((observed, observed.AddObserver(event, heard, priority)))

    def clear(self) -> None:
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags.clear()


@cpp_class
class qMRMLWidget(QtWidgets.QWidget):
    """The top of a panel: hands the scene on to the widgets that its .ui file connects."""

    mrmlSceneChanged = Signal(object)
    cpp_signals: ClassVar = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene = None

    def mrmlScene(self) -> Scene | None:
        return self._scene

    def setMRMLScene(self, scene: Scene | None) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


@cpp_class
class qMRMLNodeComboBox(qMRMLWidget):
    """Chooses a node of the scene."""

    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    cpp_signals: ClassVar = qMRMLWidget.cpp_signals | {
        f"{name}(vtkMRMLNode*)": f"{name}(PyObject)"
        for name in ("currentNodeChanged", "nodeActivated", "nodeAdded", "nodeAddedByUser")
    }

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._combo_box = QtWidgets.QComboBox(self)
        in_a_row(self, self._combo_box)
        self._nodes: list[slicer.vtkMRMLNode | None] = []
        self._node = self._leaving = None
        self._attributes: list[tuple[str, str, Any]] = []
        self._base_names: dict[str, str] = {}
        self._observers, self._node_observers = Observers(self), Observers(self)
        # As in Slicer; with Qt 6 the text does not change where two nodes have one name.
        self._combo_box.currentTextChanged.connect(lambda _: self._select(self._nodes[self._combo_box.currentIndex]))
        self._combo_box.activated.connect(lambda index: self.nodeActivated.emit(self._nodes[index]))

    def _update(self, _value: Any = None) -> None:
        """Lists the nodes of the scene anew; keeps the chosen one while it is among them."""
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        found = [node for node in self._candidates() if self._is_listed(node)]
        before, self._nodes = self._nodes, [None, *found] if self.noneEnabled else found
        was_blocked = self._combo_box.blockSignals(True)
        self._combo_box.clear()
        for node in self._nodes:
            self._combo_box.addItem(self.noneDisplay if node is None else node.GetName())
        chosen = self._node if self._node in found else self._instead(before)
        self._combo_box.setCurrentIndex(self._nodes.index(chosen) if chosen in self._nodes else -1)
        self._combo_box.blockSignals(was_blocked)
        self._select(chosen)

    def _instead(self, before: list[slicer.vtkMRMLNode | None]) -> slicer.vtkMRMLNode | None:
        """What is chosen where the chosen node is listed no more; as in Slicer, a neighbor of one that was deleted."""
        if not self._nodes:
            return None
        is_deleted = self._node in before and self._node is not None and self._node is self._leaving
        return self._nodes[min(before.index(self._node), len(self._nodes) - 1) if is_deleted else 0]

    def _candidates(self) -> list[slicer.vtkMRMLNode]:
        """The nodes of the types, hidden ones too; they are observed, as a name, an attribute or hiding may change."""
        nodes = self._scene.GetNodes() if self._scene is not None else []
        found = [node for node in nodes if any(node.IsA(kind) for kind in self.nodeTypes) and node is not self._leaving]
        self._node_observers.clear()
        for node in found:
            self._node_observers.add(node, vtk.vtkCommand.ModifiedEvent, self._update)
        return found

    def _is_listed(self, node: slicer.vtkMRMLNode) -> bool:
        right_type = self.showChildNodeTypes or node.GetClassName() in self.nodeTypes
        wrong_child = any(node.IsA(node_type) for node_type in self.hideChildNodeTypes)
        return (
            right_type
            and not wrong_child
            and (self.showHidden or not node.GetHideFromEditors())
            and all(
                node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name))
                for node_type, name, value in self._attributes
                if node.IsA(node_type)
            )
        )

    def _select(self, node: slicer.vtkMRMLNode | None) -> None:
        if node is self._node:
            return
        self._node = node
        self.currentNodeChanged[object].emit(node)
        self.currentNodeChanged[bool].emit(node is not None)
        self.currentNodeIDChanged.emit(self.currentNodeID)

    def setMRMLScene(self, scene: Scene | None) -> None:
        self._observers.clear()
        super().setMRMLScene(scene)
        for event in SCENE_EVENTS if scene is not None else ():
            self._observers.add(
                scene, event, self._update_after_import if event == Scene.EndImportEvent else self._update
            )
        if scene is not None:
            # Slicer's model takes the row away with this priority: who observes with a higher one is told before.
            self._observers.add(scene, Scene.NodeAboutToBeRemovedEvent, self._leave, -10.0)
        self._update()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _leave(self, _scene: Scene, _event: str, node: slicer.vtkMRMLNode) -> None:
        self._leaving = node
        self._update()
        self._leaving = None

    def _update_after_import(self) -> None:
        """As in Slicer, whose model takes all its rows away then, and the choice with them (its issue 4570)."""
        if self.noneEnabled:
            self._select(None)
        self._update()

    def currentNode(self) -> slicer.vtkMRMLNode | None:
        return self._node

    def setCurrentNode(self, node: slicer.vtkMRMLNode | None) -> None:
        before, chosen = self._node, node if node in self._nodes else None
        self._combo_box.setCurrentIndex(self._nodes.index(node) if node in self._nodes else -1)
        # An index that did not change tells nothing, as when nothing was and is chosen.
        self._select(chosen)
        # Slicer sends a key to the list, which Qt takes for a choice of the user's.
        if chosen is not None and chosen is not before:
            self.nodeActivated.emit(chosen)

    def _set_current_id(self, node_id: str) -> None:
        self.setCurrentNode(self._scene.GetNodeByID(node_id) if self._scene is not None and node_id else None)

    def nodeCount(self) -> int:
        return len(self._nodes) - self.noneEnabled

    def nodeFromIndex(self, index: int) -> slicer.vtkMRMLNode | None:
        return self._nodes[index + self.noneEnabled] if 0 <= index < self.nodeCount() else None

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        self._attributes.append((node_type, name, value))
        self._update()

    def addNode(self, node_type: str = "") -> slicer.vtkMRMLNode:
        """What "Create new ..." of the menu does."""
        node_type = node_type or self.nodeTypes[0]
        node = self._scene.CreateNodeByClass(node_type)
        node.UnRegister(None)
        node.SetName(self._scene.GenerateUniqueName(self.baseName or node.GetNodeTagName()))
        for attribute_type, name, value in self._attributes:
            if node.IsA(attribute_type):
                node.SetAttribute(name, value)
        self._scene.AddNode(node)
        self.nodeAdded.emit(node)
        self.nodeAddedByUser.emit(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        return node

    currentNodeID = Property(str, lambda self: self._node.GetID() if self._node is not None else "", _set_current_id)
    nodeTypes = kept("QStringList", (), _update)
    showHidden = kept(bool, False, _update)
    showChildNodeTypes = kept(bool, True, _update)
    hideChildNodeTypes = kept("QStringList", (), _update)
    noneEnabled = kept(bool, False, _update)
    noneDisplay = kept(str, "None", _update)
    baseName = kept(str, "")
    addEnabled = kept(bool, True)
    removeEnabled = kept(bool, True)
    editEnabled = kept(bool, False)
    renameEnabled = kept(bool, False)
    selectNodeUponCreation = kept(bool, True)


@cpp_class
class qMRMLSliderWidget(ctkSliderWidget):
    """A slider that knows units; the stand-in does not."""

    quantity = kept(str, "")

    def setMRMLScene(self, scene: Scene | None) -> None:
        """Units would come from the scene."""


@cpp_class
class qMRMLSpinBox(ctkDoubleSpinBox):
    """A spin box that knows units; the stand-in does not."""

    quantity = kept(str, "")

    def setMRMLScene(self, scene: Scene | None) -> None:
        """Units would come from the scene."""


@cpp_class
class qMRMLRangeWidget(ctkRangeWidget):
    """A range that knows units; the stand-in does not."""

    quantity = kept(str, "")

    def setMRMLScene(self, scene: Scene | None) -> None:
        """Units would come from the scene."""


@cpp_class
class qMRMLTableView(QtWidgets.QTableView):
    """Shows a table node."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node = None
        self._observers = Observers(self)
        self._cells = QtGui.QStandardItemModel(self)
        self.setModel(self._cells)

    transposed = kept(bool, False)

    def setMRMLScene(self, scene: Scene | None) -> None:
        """The node is given by itself."""

    def mrmlTableNode(self) -> slicer.vtkMRMLTableNode | None:
        return self._node

    def setMRMLTableNode(self, node: slicer.vtkMRMLTableNode | None) -> None:
        self._observers.clear()
        self._node = node
        if node is not None:
            self._observers.add(node, vtk.vtkCommand.ModifiedEvent, self._update)
        self._update()

    def _update(self) -> None:
        """As in Slicer, columns that stay are not taken away: where they stand, and whether they are seen, stays."""
        table = self._node.GetTable() if self._node is not None else None
        self._cells.setRowCount(0)
        self._cells.setColumnCount(table.GetNumberOfColumns() if table is not None else 0)
        for column in range(self._cells.columnCount()):
            texts = [table.GetValue(row, column).ToString() for row in range(table.GetNumberOfRows())]
            name = table.GetColumnName(column)
            if self._node.GetUseColumnTitleAsColumnHeader():
                unit = self._node.GetColumnUnitLabel(name)
                header = (self._node.GetColumnTitle(name) or name) + (f" [{unit}]" if unit else "")
            else:
                # As a spreadsheet has it.
                texts, header = [name, *texts], string.ascii_uppercase[column]
            items = [QtGui.QStandardItem(text) for text in texts]
            for item in items:
                item.setEditable(not self._node.GetLocked())
            for row, item in enumerate(items):
                self._cells.setItem(row, column, item)
            self._cells.setHorizontalHeaderItem(column, QtGui.QStandardItem(header))


@cpp_class
class qMRMLSegmentsTableView(QtWidgets.QWidget):
    """Lists the segments of a segmentation."""

    selectionChanged = Signal(object, object)
    cpp_signals: ClassVar = {"selectionChanged(QItemSelection,QItemSelection)": "selectionChanged(PyObject,PyObject)"}

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node = None
        self._observers = Observers(self)
        self._list = QtWidgets.QListWidget(self)
        in_a_row(self, self._list)
        self._list.selectionMode = QtWidgets.QAbstractItemView.ExtendedSelection
        self._list.selectionModel().selectionChanged.connect(self.selectionChanged.emit)

    selectionMode = Property(
        int, lambda self: self._list.selectionMode, lambda self, mode: setattr(self._list, "selectionMode", mode)
    )
    readOnly = kept(bool, False)

    def setMRMLScene(self, scene: Scene | None) -> None:
        """The node is given by itself."""

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        return self._node

    def setSegmentationNode(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        self._observers.clear()
        self._node = node
        if node is not None:
            for event in (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved):
                self._observers.add(node, event, self._update)
            self._observers.add(node, vtk.vtkCommand.ModifiedEvent, self._update)
        self._update()

    def _update(self) -> None:
        chosen = self.selectedSegmentIDs()
        self._list.clear()
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        for segment_id in segmentation.GetSegmentIDs() if segmentation is not None else ():
            segment = segmentation.GetSegment(segment_id)
            color = QtGui.QPixmap(12, 12)
            color.fill(QtGui.QColor.fromRgbF(*segment.GetColor()))
            item = QtWidgets.QListWidgetItem(QtGui.QIcon(color), segment.GetName(), self._list)
            item.setData(QtCore.Qt.UserRole, segment_id)
            item.setSelected(segment_id in chosen)

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        return tuple(item.data(QtCore.Qt.UserRole) for item in self._list.selectedItems())

    def setSelectedSegmentIDs(self, segment_ids: list[str]) -> None:
        for row in range(self._list.count):
            item = self._list.item(row)
            item.setSelected(item.data(QtCore.Qt.UserRole) in segment_ids)


@cpp_class
class qMRMLSegmentationShow3DButton(ctkMenuButton):
    """Shows the segments' surfaces in the 3D views."""

    SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node = None
        self._observers = Observers(self)
        self.text = "Show 3D"
        self.checkable = True
        self.enabled = False
        self.toggled.connect(self._show_surface)

    locked = kept(bool, False, lambda self, _value: self._update())

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        return self._node

    def setSegmentationNode(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        self._observers.clear()
        self._node = node
        if node is not None:
            segmentation = slicer.vtkSegmentation
            for event in (
                vtk.vtkCommand.ModifiedEvent,
                segmentation.SegmentAdded,
                segmentation.SegmentRemoved,
                segmentation.ContainedRepresentationNamesModified,
            ):
                self._observers.add(node, event, self._update)
        self._update()

    def _update(self) -> None:
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        self.enabled = (
            segmentation is not None
            and not self.locked
            and segmentation.GetNumberOfSegments() > 0
            and segmentation.GetSourceRepresentationName() != self.SURFACE
        )
        if segmentation is not None:
            was_blocked = self.blockSignals(True)
            self.checked = segmentation.ContainsRepresentation(self.SURFACE)
            self.blockSignals(was_blocked)

    def _show_surface(self, shown: bool) -> None:
        if self._node is None:
            return
        segmentation, display = self._node.GetSegmentation(), self._node.GetDisplayNode()
        if not shown:
            segmentation.RemoveRepresentation(self.SURFACE)
        elif segmentation.CreateRepresentation(self.SURFACE) and display is not None:
            display.SetPreferredDisplayRepresentationName3D(self.SURFACE)
        # The surface would be drawn in the slices too.
        if display is not None:
            display.SetPreferredDisplayRepresentationName2D(self.LABELMAP)


WIDGETS = (
    qMRMLNodeComboBox,
    qMRMLRangeWidget,
    qMRMLSegmentationShow3DButton,
    qMRMLSegmentsTableView,
    qMRMLSliderWidget,
    qMRMLSpinBox,
    qMRMLTableView,
    qMRMLWidget,
)


def register(slicer_module: ModuleType) -> None:
    """Puts the widgets into `slicer` and makes them known to .ui files."""
    register_widgets(*WIDGETS)
    for widget in WIDGETS:
        setattr(slicer_module, widget.__name__, widget)
