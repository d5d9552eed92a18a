"""Makes and removes subject hierarchy items as Slicer's application does; its library alone does not."""

import slicer
import vtk

# Classes of nodes that a plugin of Slicer shows in the subject hierarchy, and the name of that plugin.
OWNERS = {
    "vtkMRMLLabelMapVolumeNode": "LabelMaps",
    "vtkMRMLScalarVolumeNode": "Volumes",
    "vtkMRMLSegmentationNode": "Segmentations",
    "vtkMRMLMarkupsNode": "Markups",
    "vtkMRMLModelNode": "Models",
    "vtkMRMLTableNode": "Tables",
    "vtkMRMLPlotChartNode": "Plots",
    "vtkMRMLPlotSeriesNode": "Plots",
    "vtkMRMLTextNode": "Texts",
    "vtkMRMLTransformNode": "Transforms",
}


class SubjectHierarchyObserver:
    """Keeps the items of a scene's subject hierarchy in step with its nodes."""

    def __init__(self, scene) -> None:
        self._scene = scene
        scene.AddObserver(scene.NodeAddedEvent, self._on_node_added)
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._on_node_about_to_be_removed)
        scene.AddObserver(scene.EndImportEvent, self._on_many_nodes_changed, 10.0)
        scene.AddObserver(scene.EndBatchProcessEvent, self._on_many_nodes_changed, 10.0)
        scene.AddObserver(scene.EndCloseEvent, self._on_closed)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_added(self, _scene: object, _event: str, node) -> None:
        if node.IsA("vtkMRMLSubjectHierarchyNode"):
            slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self._scene)
        elif not self._scene.IsImporting():
            self._add(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_about_to_be_removed(self, _scene: object, _event: str, node) -> None:
        if self._scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = self._hierarchy()
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _on_many_nodes_changed(self, *_arguments: object) -> None:
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self._scene)
        for index in range(self._scene.GetNumberOfNodes()):
            self._add(self._scene.GetNthNode(index))

    def _on_closed(self, *_arguments: object) -> None:
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self._scene)

    def _add(self, node) -> None:
        owner = next((name for class_name, name in OWNERS.items() if node.IsA(class_name)), None)
        # What is hidden from editors when it is added gets no item in Slicer either.
        if owner is None or node.GetHideFromEditors():
            return
        hierarchy = self._hierarchy()
        if not hierarchy.GetItemByDataNode(node):
            item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
            hierarchy.SetItemOwnerPluginName(item, owner)

    def _hierarchy(self):
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)
