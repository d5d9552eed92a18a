"""What a scene holds for training, as plain data: its CTs, its segmentations, and what belongs to whom."""

from __future__ import annotations

import errno
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import slicer
import vtk
from HLFDSegmentationLib.errors import CasesError, OutputError
from HLFDSegmentationLib.output.private_folder import PrivateFolder
from HLFDSegmentationLib.slicer_scene.slicer_ct import problem_with
from HLFDSegmentationLib.slicer_scene.slicer_scene_result import SEGMENT, SceneResult, is_linear, segments_by_id
from HLFDSegmentationLib.slicer_tools.slicer_nodes import nodes_of
from HLFDSegmentationLib.slicer_tools.slicer_weak import WeakNode
from HLFDSegmentationLib.tasks import Task
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ..annotations.segment_roles import SceneSegment
from ..scene.scene_cases import CaseRow, case_rows
from ..scene.scene_pairs import Bounds, SceneImage, SceneSegmentation
from .slicer_drawing import drawing_of
from .slicer_test_case import PATIENT_ATTRIBUTE, is_truth

BUNDLE_SUFFIX = ".mrb"


class Nodes:
    """Nodes of one or several scenes under keys of their own.

    Node IDs would not do: two scenes have the same ones, and a closed scene gives them to other nodes.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, WeakNode] = {}
        self._keys: dict[str, str] = {}

    def key(self, node: slicer.vtkMRMLNode) -> str:
        """The key of a node; the same at every call."""
        address = node.GetAddressAsString("")
        key = self._keys.get(address)
        # The address of a node that is gone may be another one's now.
        if key is None or self.node(key) is not node:
            key = f"{node.GetID()} of {len(self._nodes)}"
            self._nodes[key], self._keys[address] = WeakNode(node), key
        return key

    def node(self, key: str) -> slicer.vtkMRMLNode | None:
        """The node of a key; None once it is gone."""
        return self._nodes[key].node if key in self._nodes else None


# Cases


def rows_of_scene(
    scene: slicer.vtkMRMLScene,
    nodes: Nodes,
    task: Task,
    chosen: Sequence[slicer.vtkMRMLNode] | None = None,
) -> list[CaseRow]:
    """A row for each CT of a scene with its segmentation, as `case_rows` suggests them. CTs without one are left out.

    What HLFD segmented itself is no annotation, and the truth of a run's case is one already: both are left out unless
    they are chosen.

    Args:
        scene: any scene.
        nodes: gets the nodes that the rows speak of.
        task: what the segments are to be labels of.
        chosen: only the rows with one of these nodes, also CTs without a segmentation.
    """
    wanted = chosen or ()
    volumes = [volume for volume in volumes_of(scene) if volume in wanted or not _is_of_a_result(volume)]
    drawn = [one for one in segmentations_of(scene) if one in wanted or not _is_of_hlfd(one)]
    segmentations = [segmentation_of(one, nodes) for one in drawn]
    rows = case_rows([image_of(volume, nodes) for volume in volumes], segmentations, task)
    if chosen is None:
        return [row for row in rows if row.segmentation or _is_contested(row, segmentations)]
    keys = {nodes.key(node) for node in chosen}
    return [row for row in rows if keys & {one.id for one in row.parts}]


def _is_contested(row: CaseRow, segmentations: Sequence[SceneSegmentation]) -> bool:
    """Whether a CT is alone because several segmentations belong to it; the reason names them."""
    return any(f"'{segmentation.name}'" in row.reason for segmentation in segmentations)


def volumes_of(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The image volumes that a user sees."""
    return [
        node
        for node in nodes_of(scene, "vtkMRMLScalarVolumeNode")
        if not node.GetHideFromEditors() and not node.IsA("vtkMRMLLabelMapVolumeNode")
    ]


def segmentations_of(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSegmentationNode]:
    """The segmentations that a user sees."""
    return [node for node in nodes_of(scene, "vtkMRMLSegmentationNode") if not node.GetHideFromEditors()]


def selected_nodes() -> list[slicer.vtkMRMLNode]:
    """What is selected in the subject hierarchy, with all that lies in selected patients, studies and folders."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    items, inside = vtk.vtkIdList(), vtk.vtkIdList()
    slicer.qSlicerSubjectHierarchyPluginHandler.instance().currentItems(items)
    found = []
    for item in _ids(items):
        # Slicer's tree says that the whole scene is selected where nothing is.
        if item == hierarchy.GetSceneItemID():
            continue
        hierarchy.GetItemChildren(item, inside, True)
        found += [item, *_ids(inside)]
    nodes = (hierarchy.GetItemDataNode(item) for item in dict.fromkeys(found))
    return [node for node in nodes if node is not None]


def ct_problem(volume: slicer.vtkMRMLVolumeNode) -> str:
    """A sentence why a volume cannot be exported as a CT; "" where it can."""
    return problem_with(unbent(volume)) or ""


def gone() -> str:
    """What is said of a case of which a node was deleted."""
    return _("Its CT or its segmentation is gone. Load it again, or remove the case.")


def unbent(volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode:
    """The volume, or a copy of it outside of every scene where a parent transform bends it. Shares the voxels."""
    if is_linear(volume.GetParentTransformNode()):
        return volume
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    copy = slicer.vtkMRMLScalarVolumeNode()
    copy.SetName(volume.GetName())
    copy.SetIJKToRASMatrix(matrix)
    copy.SetAndObserveImageData(volume.GetImageData())
    return copy


def _is_of_hlfd(segmentation: slicer.vtkMRMLSegmentationNode) -> bool:
    return SceneResult.of(segmentation) is not None or is_truth(segmentation)


def _is_of_a_result(volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a volume is a probability or an attention map that HLFD computed."""
    return volume.GetAttribute(SEGMENT) is not None


def _ids(ids: vtk.vtkIdList) -> list[int]:
    return [ids.GetId(index) for index in range(ids.GetNumberOfIds())]


# Nodes as plain data


def image_of(volume: slicer.vtkMRMLScalarVolumeNode, nodes: Nodes) -> SceneImage:
    """A volume as plain data."""
    place = _Place(volume)
    image = volume.GetImageData()
    components = image.GetNumberOfScalarComponents() if image else 1
    return SceneImage(
        id=nodes.key(volume),
        name=volume.GetName() or "",
        patient=place.patient,
        patient_id=place.patient_id,
        study=place.study,
        shape=image.GetDimensions()[::-1] if image else (0, 0, 0),
        is_ct=components == 1 and place.modality in ("", "CT"),
        bounds=_bounds(volume) if image else None,
        of_run=place.of_run,
    )


def segmentation_of(node: slicer.vtkMRMLSegmentationNode, nodes: Nodes) -> SceneSegmentation:
    """A segmentation as plain data."""
    place = _Place(node)
    reference = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    return SceneSegmentation(
        id=nodes.key(node),
        name=node.GetName() or "",
        segments=tuple(_segments(node)),
        patient_id=place.patient_id,
        study=place.study,
        reference_image_id=nodes.key(reference) if reference is not None else None,
        bounds=_bounds(node),
    )


def _segments(node: slicer.vtkMRMLSegmentationNode) -> Iterator[SceneSegment]:
    segmentation = node.GetSegmentation()
    source = segmentation.GetSourceRepresentationName()
    for key in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(key)
        yield SceneSegment(key, segment.GetName() or key, segment.GetTerminology() or "", _is_empty(segment, source))


def _is_empty(segment: slicer.vtkSegment, source: str) -> bool:
    drawn = segment.GetRepresentation(source)
    if drawn is None:
        return True
    if not isinstance(drawn, vtk.vtkImageData):
        return not drawn.GetNumberOfPoints()
    scalars = drawn.GetPointData().GetScalars()
    if drawn.IsEmpty() or scalars is None:
        return True
    planes = vtk_to_numpy(scalars).reshape(drawn.GetDimensions()[2], -1)
    # Plane by plane, as most segments are found in the first few.
    return not any((plane == segment.GetLabelValue()).any() for plane in planes)


def _bounds(node: slicer.vtkMRMLDisplayableNode) -> Bounds | None:
    bounds: list[Any] = [0.0] * 6
    node.GetRASBounds(bounds)
    ordered = all(low <= high for low, high in zip(bounds[::2], bounds[1::2]))
    return tuple(bounds) if ordered else None


class _Place:
    """What is known of a node: from the training run whose case it is, else from the subject hierarchy."""

    def __init__(self, node: slicer.vtkMRMLNode) -> None:
        self.patient_id = self.study = self.modality = ""
        self.patient = node.GetAttribute(PATIENT_ATTRIBUTE) or ""
        self.of_run = bool(self.patient)
        if self.of_run:
            return
        constants = slicer.vtkMRMLSubjectHierarchyConstants
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
        item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
        if not item:
            return
        self.modality = hierarchy.GetItemAttribute(item, constants.GetDICOMSeriesModalityAttributeName())
        patient = hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelPatient())
        if patient:
            name = hierarchy.GetItemAttribute(patient, constants.GetDICOMPatientNameAttributeName())
            self.patient = name or hierarchy.GetItemName(patient)
            self.patient_id = hierarchy.GetItemAttribute(patient, constants.GetDICOMPatientIDAttributeName())
        study = hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelStudy())
        if study:
            self.study = hierarchy.GetItemUID(study, constants.GetDICOMUIDName()) or f"item {study}"


# Scenes in files


def read_scene(path: Path) -> slicer.vtkMRMLScene:
    """A scene of its own with what a .mrb or .mrml file holds; the user's scene is not touched.

    Raises:
        CasesError: the file cannot be read.
        OutputError: there is no space to unpack it.
    """
    scene = slicer.vtkMRMLScene()
    # A new scene knows Slicer's core nodes only, and takes those of its modules, as the Segment Editor's, for damage.
    slicer.mrmlScene.CopyRegisteredNodesToScene(scene)
    with PrivateFolder() as folder:
        file = _unpacked(path, folder.path) if path.suffix.lower() == BUNDLE_SUFFIX else path
        scene.SetURL(str(file))
        # It also fails over nodes of extensions that are not installed here, and over a missing file of any node. The
        # others are loaded then; a CT or a segmentation that came without its voxels is told with its case.
        whole = file.is_file() and bool(scene.Connect())
    if not any(volumes_of(scene)) and not any(segmentations_of(scene)):
        if not whole:
            raise _unreadable(path)
        raise CasesError(_("{file} holds no CT and no segmentation. Choose another scene.").format(file=path))
    return scene


def _unpacked(path: Path, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(path) as bundle:
            bundle.extractall(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            sentence = _(
                "{file} could not be unpacked: the disk of the temporary folder {folder} is full. Free some space."
            )
            raise OutputError(sentence.format(file=path, folder=folder.parent)) from error
        raise _unreadable(path) from error
    # The last two of a bundle that is encrypted, or packed in a way that Python does not know.
    except (EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise _unreadable(path) from error
    return next(folder.rglob("*.mrml"), folder / "scene.mrml")


def _unreadable(path: Path) -> CasesError:
    return CasesError(
        _(
            "{file} cannot be read: it is damaged, incomplete or no scene of 3D Slicer. Open it in Slicer (File > Add "
            "Data), then take the cases from the scene."
        ).format(file=path)
    )


State = tuple[float | str, ...]


class States:
    """Tells whether nodes have changed; a segment is only looked at anew where its labelmap has."""

    def __init__(self) -> None:
        self._drawings: dict[tuple[str, int, int], str] = {}

    def of(self, node: slicer.vtkMRMLTransformableNode) -> State:
        """Values that change when the voxels, the segments or the place of a node change.

        Not the time at which the node or a labelmap was modified: File > Save and volume rendering change that, too.
        """
        parent = node.GetParentTransformNode()
        place = parent.GetTransformToWorldMTime() if parent is not None else 0
        if not node.IsA("vtkMRMLSegmentationNode"):
            image = node.GetImageData()
            matrix = vtk.vtkMatrix4x4()
            node.GetIJKToRASMatrix(matrix)
            return place, *matrix.GetData(), image.GetMTime() if image else 0
        source = node.GetSegmentation().GetSourceRepresentationName()
        return place, *(self._drawing(segment, source) for _key, segment in segments_by_id(node))

    def _drawing(self, segment: slicer.vtkSegment, source: str) -> str:
        drawn, value = segment.GetRepresentation(source), segment.GetLabelValue()
        if drawn is None:
            return ""
        state = drawn.GetAddressAsString(""), drawn.GetMTime(), value
        if state not in self._drawings:
            self._drawings[state] = drawing_of(drawn, value)
        return self._drawings[state]
