"""Brings Slicer's real libraries to life, as Slicer's application does at its start."""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import slicer

from slicer_shell.application import Application
from slicer_shell.ctk_widgets import make_ctk_module
from slicer_shell.dicom_database import DicomDatabase
from slicer_shell.libraries import (
    application_folder,
    make_application_logic,
    make_scene,
    module_logics,
    register_slice_view_managers,
)
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


def start() -> ModuleType:
    """Start the stand-in, once a process.

    Returns:
        The module `slicer`, with `mrmlScene`, `app` and `modules` as in Slicer.
    """
    if hasattr(slicer, "mrmlScene"):
        return slicer
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    folder = application_folder()
    _install_python_modules(folder)
    slicer.mrmlScene = make_scene(folder)
    slicer.dicomDatabase = DicomDatabase()
    slicer.modules = SimpleNamespace()
    slicer.selfTests = {}
    application_logic = make_application_logic(slicer.mrmlScene, folder)
    module_manager = ModuleManager(slicer.modules)
    for name, logic in module_logics(application_logic):
        module_manager.add(Module(name, logic))
    register_slice_view_managers(application_logic)
    slicer.app = Application(application_logic, module_manager, folder)
    slicer.app.subject_hierarchy_observer = SubjectHierarchyObserver(slicer.mrmlScene)
    return slicer


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
