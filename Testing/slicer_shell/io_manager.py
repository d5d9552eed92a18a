"""Loads and saves files through Slicer's real logics and storage nodes, as `slicer.app.coreIOManager()` does."""

from pathlib import Path

import slicer
import vtk

FILE_TYPES = {
    ".seg.nrrd": "SegmentationFile",
    ".seg.nhdr": "SegmentationFile",
    ".mrb": "SceneFile",
    ".mrml": "SceneFile",
    ".nrrd": "VolumeFile",
    ".nhdr": "VolumeFile",
    ".nii": "VolumeFile",
    ".nii.gz": "VolumeFile",
    ".mha": "VolumeFile",
    ".mhd": "VolumeFile",
    ".csv": "TableFile",
    ".tsv": "TableFile",
    ".ctbl": "ColorTableFile",
}


class IOManager:
    """The types of files that a CT, its segmentation and its tables come in."""

    def __init__(self, application_logic) -> None:
        self._logic = application_logic
        self._scene = application_logic.GetMRMLScene()

    def fileType(self, filename: str) -> str:  # noqa: N802
        name = Path(filename).name.lower()
        endings = [ending for ending in FILE_TYPES if name.endswith(ending)]
        return FILE_TYPES[max(endings, key=len)] if endings else "NoFile"

    def fileWriterFileType(self, node) -> str:  # noqa: N802
        return node.GetNodeTagName()

    def loadNodes(self, file_type: str, properties: dict, loaded, messages) -> bool:  # noqa: N802
        """Load a file; the nodes it made are added to the collection `loaded`."""
        filename = str(properties["fileName"])
        if not Path(filename).exists():
            messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"The file {filename} does not exist.")
            return False
        if file_type == "SceneFile":
            return self._open_scene(filename, bool(properties.get("clear", False)), messages)
        node = self._load(file_type, filename, properties)
        if node is not None:
            loaded.AddItem(node)
        return node is not None

    def saveNodes(self, _file_type: str, properties: dict, _messages) -> bool:  # noqa: N802
        """Save the scene, or the node with the ID `nodeID`, to `fileName`."""
        filename = str(properties["fileName"])
        node = self._scene.GetNodeByID(properties["nodeID"]) if "nodeID" in properties else None
        if node is None:
            return self._save_scene(filename)
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(filename)
        return bool(node.GetStorageNode().WriteData(node))

    def _open_scene(self, filename: str, clear: bool, messages) -> bool:
        if filename.endswith(".mrb"):
            return bool(self._scene.ReadFromMRB(filename, clear, messages))
        self._scene.SetURL(filename)
        return bool(self._scene.Connect() if clear else self._scene.Import())

    def _save_scene(self, filename: str) -> bool:
        if filename.endswith(".mrb"):
            return bool(self._scene.WriteToMRB(filename))
        self._scene.SetURL(filename)
        return bool(self._scene.Commit())

    def _show(self, volume) -> None:
        """In all slice views that take what is loaded."""
        selection = self._logic.GetSelectionNode()
        if volume.IsA("vtkMRMLLabelMapVolumeNode"):
            selection.SetActiveLabelVolumeID(volume.GetID())
        else:
            selection.SetActiveVolumeID(volume.GetID())
        self._logic.PropagateVolumeSelection()

    def _load(self, file_type: str, filename: str, properties: dict):
        name = properties.get("name") or Path(filename).name.split(".")[0]
        modules = slicer.modules
        if file_type == "VolumeFile":
            options = 1 if properties.get("labelmap") else 0
            volume = modules.volumes.logic().AddArchetypeVolume(filename, name, options)
            if volume is not None and properties.get("show", True):
                self._show(volume)
            return volume
        if file_type == "SegmentationFile":
            return modules.segmentations.logic().LoadSegmentationFromFile(filename, True, name)
        if file_type == "TableFile":
            return modules.tables.logic().AddTable(filename, name)
        if file_type == "ColorTableFile":
            return modules.colors.logic().LoadColorFile(filename, name)
        raise NotImplementedError(f"the stand-in for Slicer loads no {file_type}")
