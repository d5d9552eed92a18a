"""Brings Slicer's real libraries to life, as Slicer's application does at its start."""

import atexit
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import slicer
import vtk

from slicer_shell.application import Application
from slicer_shell.ctk_widgets import make_ctk_module
from slicer_shell.dicom_database import DicomDatabase
from slicer_shell.modules import (
    Module,
    ModuleManager,
    qSlicerScriptedLoadableModule,
    qSlicerScriptedLoadableModuleWidget,
)
from slicer_shell.packaging_stand_ins import make_packaging_module, make_pytorch_module
from slicer_shell.parameter_nodes import make_module as make_parameter_node_module
from slicer_shell.pythonqt import make_qt_module
from slicer_shell.qmrml_widgets import register as register_widgets
from slicer_shell.sample_data import make_sample_data_module
from slicer_shell.scripted_module import make_scripted_module_module
from slicer_shell.subject_hierarchy import SubjectHierarchyObserver
from slicer_shell.translation import make_i18n_module

DEFAULT_SLICE_VIEWS = ("Red", "Yellow", "Green")

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


def start() -> ModuleType:
    """Start the stand-in, once a process.

    Returns:
        The module `slicer`, with `mrmlScene`, `app` and `modules` as in Slicer.
    """
    if hasattr(slicer, "mrmlScene"):
        return slicer
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    folder = _application_folder()
    _install_python_modules(folder)
    slicer.mrmlScene = _scene(folder)
    slicer.dicomDatabase = DicomDatabase()
    slicer.modules = SimpleNamespace()
    slicer.selfTests = {}
    application_logic = _application_logic(slicer.mrmlScene, folder)
    module_manager = ModuleManager(slicer.modules)
    _add_module_logics(application_logic, module_manager)
    _register_slice_view_managers(application_logic)
    slicer.app = Application(application_logic, module_manager, folder)
    slicer.app.subject_hierarchy_observer = SubjectHierarchyObserver(slicer.mrmlScene)
    return slicer


def clear_scene() -> None:
    """Close the scene as the user does, and forget also what that keeps: a fresh scene for the next test."""
    scene = slicer.mrmlScene
    scene.GetSubjectHierarchyNode().RemoveAllItems(False)
    scene.Clear(False)
    for class_name in ("vtkMRMLScriptedModuleNode", "vtkMRMLSliceNode", "vtkMRMLPlotViewNode", "vtkMRMLTableViewNode"):
        for node in slicer.util.getNodesByClass(class_name, scene):
            if node.GetName() not in DEFAULT_SLICE_VIEWS:
                scene.RemoveNode(node)
    slicer.app.layoutManager().reset()
    slicer.app.userSettings().clear()
    slicer.dicomDatabase.files.clear()


def unload_modules() -> None:
    """Leave and unload every module file, and forget what it told Slicer."""
    slicer.app.main_window.moduleSelector().leave()
    manager = slicer.app.moduleManager()
    for name in manager.modulesNames():
        if isinstance(manager.module(name), qSlicerScriptedLoadableModule):
            manager.unload(name)
    slicer.app.disconnect_all("startupCompleted()")
    slicer.selfTests.clear()
    for name in ("sampleDataSources", "sampleDataSourceCategories"):
        vars(slicer.modules).pop(name, None)


def _application_folder() -> Path:
    """Where Slicer would be installed and keep its files; removed with the process."""
    folder = Path(tempfile.mkdtemp(prefix="slicer-shell-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("home/share/ColorFiles", "temporary", "cache"):
        (folder / name).mkdir(parents=True)
    return folder


def _install_python_modules(folder: Path) -> None:
    """What Slicer's Python has and the package has not."""
    qt = make_qt_module()
    for scope in (qt.QSettings.UserScope, qt.QSettings.SystemScope):
        qt.QSettings.setPath(qt.QSettings.IniFormat, scope, str(folder / "settings"))
    qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
    qt.QCoreApplication.setOrganizationName("Slicer")
    qt.QCoreApplication.setApplicationName("Slicer")
    register_widgets(slicer)
    slicer.qSlicerScriptedLoadableModule = qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = qSlicerScriptedLoadableModuleWidget
    sys.modules |= {
        "qt": qt,
        "ctk": make_ctk_module(),
        "SampleData": make_sample_data_module(),
        "PyTorchUtils": make_pytorch_module(),
    }
    submodules = {
        "i18n": make_i18n_module(),
        "packaging": make_packaging_module(),
        "parameterNodeWrapper": make_parameter_node_module(),
        "ScriptedLoadableModule": make_scripted_module_module(),
    }
    for name, module in submodules.items():
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)


def _scene(folder: Path) -> slicer.vtkMRMLScene:
    scene = slicer.vtkMRMLScene()
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(str(folder / "cache"))
    scene.SetCacheManager(cache)
    transfers = slicer.vtkDataIOManager()
    transfers.SetCacheManager(cache)
    scene.SetDataIOManager(transfers)
    return scene


def _application_logic(scene, folder: Path):
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


def _add_module_logics(application_logic, module_manager: ModuleManager) -> None:
    for name, class_name in MODULE_LOGICS.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(application_logic)
        if name == "Terminologies":
            logic.SetModuleShareDirectory(str(_write_terminologies(Path(application_logic.GetHomeDirectory()))))
        logic.SetMRMLScene(application_logic.GetMRMLScene())
        application_logic.SetModuleLogic(name, logic)
        module_manager.add(Module(name, logic))
        if name == "Colors":
            application_logic.SetColorLogic(logic)


def _write_terminologies(folder: Path) -> Path:
    """Empty dictionaries under the names that Slicer's terminology logic reads at its start: the package has none."""
    for name, content in TERMINOLOGIES.items():
        (folder / f"{name}.term.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _register_slice_view_managers(application_logic) -> None:
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(application_logic)
    for name in SLICE_VIEW_MANAGERS:
        factory.RegisterDisplayableManager(name)
    slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(application_logic)
