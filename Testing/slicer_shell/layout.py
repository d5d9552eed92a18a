"""The layout manager, over Slicer's real layout logic, which makes the view nodes that a layout asks for."""

from weakref import WeakMethod

import slicer
import vtk

from slicer_shell.signals import SignalOwner
from slicer_shell.views import SliceView

SLICE_VIEW_SIZE = (320, 320)


class SliceWidget:
    """One slice view with its real slice logic."""

    def __init__(self, slice_node, application_logic) -> None:
        self._node = slice_node
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(slice_node.GetScene())
        self._logic.SetSliceNode(slice_node)
        self._logic.ResizeSliceNode(*SLICE_VIEW_SIZE)
        self._view = SliceView(self._logic)
        composite = self._logic.GetSliceCompositeNode()
        self._hot_linked, self._opacity = composite.GetHotLinkedControl(), composite.GetForegroundOpacity()
        # Weak: a view that is gone would live on with its logic, which makes nodes in every scene.
        heard = WeakMethod(self._on_composite_modified)
        composite.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda node, _: (method := heard()) and method(node))

    def _on_composite_modified(self, composite) -> None:
        """What a view's controller writes back: its pin links all views, and its slider every opacity as if dragged."""
        if composite.GetHotLinkedControl() != self._hot_linked:
            self._hot_linked = composite.GetHotLinkedControl()
            for other in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode", composite.GetScene()):
                other.SetHotLinkedControl(self._hot_linked)
        if composite.GetForegroundOpacity() != self._opacity:
            self._opacity = composite.GetForegroundOpacity()
            self._logic.StartSliceCompositeNodeInteraction(composite.ForegroundOpacityFlag)
            self._logic.EndSliceCompositeNodeInteraction()

    def sliceLogic(self):  # noqa: N802
        return self._logic

    def mrmlSliceNode(self):  # noqa: N802
        return self._node

    def mrmlSliceCompositeNode(self):  # noqa: N802
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> SliceView:  # noqa: N802
        return self._view

    def reset(self) -> None:
        """Size, orientation and position as at the start of Slicer."""
        presets = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
        if self._node.GetName() in presets:
            self._node.SetOrientation(presets[self._node.GetName()])
        self._logic.ResizeSliceNode(*SLICE_VIEW_SIZE)
        self._logic.SetSliceOffset(0)

    def fitSliceToBackground(self) -> None:  # noqa: N802
        self._logic.FitSliceToBackground()


class ThreeDView:
    """A 3D view that draws nothing."""

    def __init__(self, view_node) -> None:
        self._node = view_node

    def mrmlViewNode(self):  # noqa: N802
        return self._node

    def forceRender(self) -> None:  # noqa: N802
        """Draws nothing."""


class ThreeDWidget:
    def __init__(self, view_node) -> None:
        self._view = ThreeDView(view_node)

    def threeDView(self) -> ThreeDView:  # noqa: N802
        return self._view

    def mrmlViewNode(self):  # noqa: N802
        return self._view.mrmlViewNode()


class PlotView:
    """A plot view that remembers its node; `slicer_shell.plots` draws the chart."""

    def __init__(self, view_node) -> None:
        self._node = view_node

    def mrmlPlotViewNode(self):  # noqa: N802
        return self._node

    def fitToContent(self) -> None:  # noqa: N802
        """A chart is always drawn as large as its content."""


class PlotWidget:
    def __init__(self, view_node) -> None:
        self._view = PlotView(view_node)

    def plotView(self) -> PlotView:  # noqa: N802
        return self._view

    def mrmlPlotViewNode(self):  # noqa: N802
        return self._view.mrmlPlotViewNode()


class LayoutManager(SignalOwner):
    """What `slicer.app.layoutManager()` gives."""

    SIGNALS = ("layoutChanged(int)",)

    def __init__(self, application_logic) -> None:
        super().__init__()
        self._application_logic = application_logic
        self._scene = application_logic.GetMRMLScene()
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(self._scene)
        self._slice_widgets: dict[str, SliceWidget] = {}
        self._arrangement = -1
        self._node = self._logic.GetLayoutNode()
        self._node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_layout_modified)
        self._scene.AddObserver(self._scene.NodeAddedEvent, self._on_nodes_changed)
        self._scene.AddObserver(self._scene.NodeRemovedEvent, self._on_nodes_changed)
        self.setLayout(self._node.SlicerLayoutFourUpView)

    @property
    def layout(self) -> int:
        return self._node.GetViewArrangement()

    @layout.setter
    def layout(self, arrangement: int) -> None:
        self.setLayout(arrangement)

    def setLayout(self, arrangement: int) -> None:  # noqa: N802
        self._node.SetViewArrangement(arrangement)
        self._update_widgets()

    def layoutLogic(self):  # noqa: N802
        return self._logic

    def mrmlSliceLogics(self):  # noqa: N802
        return self._application_logic.GetSliceLogics()

    def sliceViewNames(self) -> tuple[str, ...]:  # noqa: N802
        return tuple(self._slice_widgets)

    def sliceWidget(self, name: str) -> SliceWidget | None:  # noqa: N802
        return self._slice_widgets.get(name)

    @property
    def threeDViewCount(self) -> int:  # noqa: N802
        return len(self._nodes("vtkMRMLViewNode"))

    def threeDWidget(self, index: int) -> ThreeDWidget | None:  # noqa: N802
        return self._widget("vtkMRMLViewNode", index, ThreeDWidget)

    @property
    def plotViewCount(self) -> int:  # noqa: N802
        return len(self._nodes("vtkMRMLPlotViewNode"))

    def plotWidget(self, index: int) -> PlotWidget | None:  # noqa: N802
        return self._widget("vtkMRMLPlotViewNode", index, PlotWidget)

    @property
    def tableViewCount(self) -> int:  # noqa: N802
        return len(self._nodes("vtkMRMLTableViewNode"))

    def resetSliceViews(self) -> None:  # noqa: N802
        for widget in self._slice_widgets.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:  # noqa: N802
        """3D views draw nothing here."""

    def reset(self) -> None:
        """The layout that Slicer starts with, with views that show nothing."""
        self.setLayout(self._node.SlicerLayoutFourUpView)
        for widget in self._slice_widgets.values():
            widget.reset()

    def shown_views(self) -> list[str]:
        """Names of the views that the current layout shows, in its order."""
        views = self._logic.GetViewNodes()
        return [views.GetItemAsObject(index).GetLayoutName() for index in range(views.GetNumberOfItems())]

    def _nodes(self, class_name: str) -> list:
        return slicer.util.getNodesByClass(class_name, self._scene)

    def _widget(self, class_name: str, index: int, widget_class: type) -> ThreeDWidget | PlotWidget | None:
        nodes = self._nodes(class_name)
        return widget_class(nodes[index]) if 0 <= index < len(nodes) else None

    def _on_layout_modified(self, *_arguments: object) -> None:
        self._update_widgets()
        if self._node.GetViewArrangement() != self._arrangement:
            self._arrangement = self._node.GetViewArrangement()
            self.emit("layoutChanged(int)", self._arrangement)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_nodes_changed(self, _scene: object, _event: str, node: object) -> None:
        if node.IsA("vtkMRMLSliceNode"):
            self._update_widgets()

    def _update_widgets(self) -> None:
        """One slice widget for each slice node of the scene; tells each node whether the layout shows it."""
        names = {node.GetLayoutName(): node for node in self._nodes("vtkMRMLSliceNode")}
        logics = self.mrmlSliceLogics()
        for name in set(self._slice_widgets) - set(names):
            logics.RemoveItem(self._slice_widgets.pop(name).sliceLogic())
        for name, node in names.items():
            if name not in self._slice_widgets:
                widget = SliceWidget(node, self._application_logic)
                self._slice_widgets[name] = widget
                logics.AddItem(widget.sliceLogic())
        shown = self.shown_views()
        for name, node in names.items():
            node.SetMappedInLayout(name in shown)
