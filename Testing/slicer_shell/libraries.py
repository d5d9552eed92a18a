"""Slicer's real libraries at work, without a window: the scene, the logics of the modules, and what draws in views."""

import atexit
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import slicer
import vtk

# Names in `slicer.modules` and the classes of their logics. Colors come first: color legends and reading need them.
MODULE_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Models": "vtkSlicerModelsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Annotations": "vtkSlicerAnnotationModuleLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
}
# What Slicer's modules register with the factory that gives a slice view what it draws.
SLICE_VIEW_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
)
TERMINOLOGIES = {
    "SegmentationCategoryTypeModifier-SlicerGeneralAnatomy": {
        "SegmentationCategoryTypeContextName": "Segmentation category and type - 3D Slicer General Anatomy list",
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/segment-context-schema.json#",
        "SegmentationCodes": {"Category": []},
    },
    "SegmentationCategoryTypeModifier-DICOM-Master": {
        "SegmentationCategoryTypeContextName": "Segmentation category and type - DICOM master list",
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/segment-context-schema.json#",
        "SegmentationCodes": {"Category": []},
    },
    "AnatomicRegionAndModifier-DICOM-Master": {
        "AnatomicContextName": "Anatomic codes - DICOM master list",
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/anatomic-context-schema.json#",
        "AnatomicCodes": {"AnatomicRegion": []},
    },
}


def application_folder() -> Path:
    """Where Slicer would be installed and keep its files; removed with the process."""
    folder = Path(tempfile.mkdtemp(prefix="slicer-shell-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("home/share/ColorFiles", "temporary", "cache"):
        (folder / name).mkdir(parents=True)
    return folder


def make_scene(folder: Path) -> slicer.vtkMRMLScene:
    """A scene that keeps what it downloads in the folder."""
    scene = slicer.vtkMRMLScene()
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(str(folder / "cache"))
    scene.SetCacheManager(cache)
    transfers = slicer.vtkDataIOManager()
    transfers.SetCacheManager(cache)
    scene.SetDataIOManager(transfers)
    return scene


def make_application_logic(scene: slicer.vtkMRMLScene, folder: Path) -> slicer.vtkSlicerApplicationLogic:
    """The logic of the application that shows a scene, with a crosshair and Slicer's orientations of slices."""
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetHomeDirectory(str(folder / "home"))
    logic.SetShareDirectory("share")
    logic.SetTemporaryPath(str(folder / "temporary"))
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    logic.SetMRMLScene(scene)
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    return logic


def module_logics(application_logic: slicer.vtkSlicerApplicationLogic) -> Iterator[tuple[str, object]]:
    """Makes the logics of Slicer's own modules; name and logic of each."""
    for name, class_name in MODULE_LOGICS.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(application_logic)
        if name == "Terminologies":
            logic.SetModuleShareDirectory(str(_write_terminologies(Path(application_logic.GetHomeDirectory()))))
        logic.SetMRMLScene(application_logic.GetMRMLScene())
        application_logic.SetModuleLogic(name, logic)
        if name == "Colors":
            application_logic.SetColorLogic(logic)
        yield name, logic


def _write_terminologies(folder: Path) -> Path:
    """Empty dictionaries under the names that Slicer's terminology logic reads at its start: the package has none."""
    for name, content in TERMINOLOGIES.items():
        (folder / f"{name}.term.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def register_slice_view_managers(application_logic: slicer.vtkSlicerApplicationLogic) -> None:
    """Tells the factories of views what draws in them."""
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(application_logic)
    for name in SLICE_VIEW_MANAGERS:
        factory.RegisterDisplayableManager(name)
    slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(application_logic)
