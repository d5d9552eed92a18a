"""Brings Slicer's real libraries to life within the program that `host.cpp` is."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import ctk
import PythonQt
import qt
import slicer
import vtk

from slicer_shell import dialogs
from slicer_shell.dicom_database import DicomDatabase
from slicer_shell.libraries import (
    application_folder,
    make_application_logic,
    make_scene,
    module_logics,
    register_slice_view_managers,
)
from slicer_shell.packaging_stand_ins import make_packaging_module, make_pytorch_module
from slicer_shell.subject_hierarchy import SubjectHierarchyObserver

FONT_SIZE = 9


def start(application: object = None) -> ModuleType:
    """Starts, once a process, with PythonQt's application.

    Returns:
        The module `slicer`, with `mrmlScene`, `app` and `modules` as in Slicer.
    """
    if hasattr(slicer, "mrmlScene"):
        return slicer
    _take_python_of(Path(os.environ["SLICER_SOURCE"]) / "Base" / "Python" / "slicer")
    _take_widgets()
    dialogs.patch(qt)
    ctk.ctkMessageBox.exec_ = dialogs.run_dialog
    folder = application_folder()
    qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, str(folder / "settings"))
    qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
    slicer.mrmlScene = make_scene(folder)
    slicer.dicomDatabase = DicomDatabase()
    slicer.modules, slicer.selfTests = SimpleNamespace(), {}
    logic = make_application_logic(slicer.mrmlScene, folder)
    logics = list(module_logics(logic))
    register_slice_view_managers(logic)
    from slicer_shell.application import Application
    from slicer_shell.modules import Module

    slicer.app = Application(application, logic, folder)
    slicer.app.subject_hierarchy_observer = SubjectHierarchyObserver(slicer.mrmlScene)
    # As large as PySide6's without a display, so that panels are as wide as there.
    slicer.app.setFont(qt.QFont("DejaVu Sans", FONT_SIZE))
    for name, of_module in logics:
        slicer.app.moduleManager().add(Module(name, of_module))
    # A node selector lets go of what is deleted; Slicer's does, with this priority.
    slicer.mrmlScene.AddObserver(slicer.mrmlScene.NodeAboutToBeRemovedEvent, _let_go, -10.0)
    return slicer


def unload_modules() -> None:
    """Leave and unload every module file."""
    from slicer_shell.modules import ScriptedModule

    slicer.app.main_window.moduleSelector().leave()
    manager = slicer.app.moduleManager()
    for name in manager.modulesNames():
        if isinstance(manager.module(name), ScriptedModule):
            manager.unload(name)
    slicer.app.disconnect_all("startupCompleted()")
    slicer.selfTests.clear()


def _take_python_of(folder: Path) -> None:
    """Slicer's own Python, from its source: parameter nodes, the classes of modules, translation, `slicer.util`."""
    slicer.__path__.append(str(folder))
    specification = importlib.util.spec_from_file_location("slicer.util", folder / "util.py")
    slicer.util = sys.modules["slicer.util"] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(slicer.util)
    slicer.packaging = sys.modules["slicer.packaging"] = make_packaging_module()
    sys.modules["PyTorchUtils"] = make_pytorch_module()
    samples = SimpleNamespace(registerCustomSampleDataSource=lambda **_: None)
    sys.modules["SampleData"] = SimpleNamespace(SampleDataLogic=samples)


def _take_widgets() -> None:
    """The classes of widgets by which parameter nodes know what they are connected to."""
    for name in ("qMRMLWidget", "qMRMLNodeComboBox", "qMRMLTableView"):
        setattr(slicer, name, getattr(PythonQt.mrml_widgets, name))
    slicer.qMRMLRangeWidget, slicer.qMRMLSpinBox = ctk.ctkRangeWidget, ctk.ctkDoubleSpinBox
    slicer.qMRMLSliderWidget = slicer.qSlicerWidget = ctk.ctkSliderWidget


@vtk.calldata_type(vtk.VTK_OBJECT)
def _let_go(_scene: slicer.vtkMRMLScene, _event: str, node: slicer.vtkMRMLNode) -> None:
    for widget in slicer.app.allWidgets():
        if widget.className() == "qMRMLNodeComboBox" and widget.currentNode() is node:
            widget.setCurrentNode(None)
        elif widget.className() == "qMRMLTableView" and widget.mrmlTableNode() is node:
            widget.setMRMLTableNode(None)
