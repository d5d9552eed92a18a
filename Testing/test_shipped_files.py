"""What reaches users: every file of the module is installed, the panel fits its code, texts can be translated."""

import ast
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
MODULE = CHECKOUT / "HLFDSegmentation"
LIBRARY = MODULE / "HLFDSegmentationLib"
UI_FILE = MODULE / "Resources" / "UI" / "HLFDSegmentation.ui"
CMAKE_FILE = MODULE / "CMakeLists.txt"
SLICER_FILES = [MODULE / "HLFDSegmentation.py", *sorted(LIBRARY.glob("slicer_*.py"))]
PANEL_FILES = [path for path in SLICER_FILES if re.search(r"\bui\.\w", path.read_text(encoding="utf-8"))]

# Widgets that only lay out or name others; code has no business with them.
PASSIVE = re.compile(r"(Label|CollapsibleButton|Layout|HLFDSegmentation)$")


def listed_files(variable: str) -> set[str]:
    text = CMAKE_FILE.read_text(encoding="utf-8")
    (block,) = re.findall(rf"set\({variable}\n(.*?)\n\s*\)", text, re.DOTALL)
    return {line.strip().replace("${MODULE_NAME}", "HLFDSegmentation") for line in block.splitlines()}


def files_of_the_module() -> set[str]:
    files = (path.relative_to(MODULE) for path in MODULE.rglob("*") if path.is_file())
    hidden = ("__pycache__", ".")
    return {
        path.as_posix()
        for path in files
        if path.name != "CMakeLists.txt" and not any(part.startswith(hidden) for part in path.parts)
    }


def widgets() -> dict[str, ElementTree.Element]:
    return {widget.get("name"): widget for widget in ElementTree.parse(UI_FILE).iter("widget")}


def names_on_ui() -> set[str]:
    names = set()
    for path in PANEL_FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("ui", "self.ui"):
                names.add(node.attr)
    return names


def test_every_file_of_the_module_is_installed_and_nothing_else():
    scripts, resources = listed_files("MODULE_PYTHON_SCRIPTS"), listed_files("MODULE_PYTHON_RESOURCES")
    assert scripts | resources == files_of_the_module()
    assert all(name.endswith(".py") for name in scripts)
    assert not any(name.endswith(".py") for name in resources)


def test_the_extension_adds_the_module():
    text = (CHECKOUT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "HLFDSegmentation" in text and "add_subdirectory" in text


def test_nothing_heavy_is_imported_with_the_module():
    names = ["HLFDSegmentation", *(f"HLFDSegmentationLib.{path.stem}" for path in SLICER_FILES[1:])]
    code = f"""
import importlib, sys
sys.path[:0] = [{str(MODULE)!r}, {str(Path(__file__).parent)!r}]
from slicer_shell.shell import start
start()
for name in {names}:
    importlib.import_module(name)
    heavy = {{"torch", "monai", "SimpleITK", "scipy", "openvino"}} & set(sys.modules)
    if heavy:
        sys.exit(f"{{name}} imports {{heavy}}")
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr


def test_the_panel_has_every_widget_that_the_code_names():
    assert names_on_ui() <= set(widgets())


def test_the_code_uses_every_widget_of_the_panel():
    used = names_on_ui()
    for name, widget in widgets().items():
        is_parameter = widget.find("property[@name='SlicerParameterName']") is not None
        assert name in used or is_parameter or PASSIVE.search(name), f"nothing uses {name}"


def test_parameter_names_of_the_panel_are_fields_of_the_parameter_node():
    tree = ast.parse((MODULE / "HLFDSegmentation.py").read_text(encoding="utf-8"))
    (parameters,) = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "HLFDSegmentationParameterNode"
    ]
    fields = {node.target.id for node in parameters.body if isinstance(node, ast.AnnAssign)}
    named = [
        found.findtext("string")
        for widget in widgets().values()
        if (found := widget.find("property[@name='SlicerParameterName']")) is not None
    ]
    assert set(named) <= fields
    assert len(named) == len(set(named))


def test_every_control_has_a_tooltip():
    for name, widget in widgets().items():
        if widget.get("class") in ("QWidget", "qMRMLWidget", "ctkCollapsibleButton") or name.endswith("Label"):
            continue
        assert widget.findtext("property[@name='toolTip']/string"), f"{name} has no tooltip"


def test_every_name_in_the_panel_is_given_once():
    names = [
        element.get("name")
        for element in ElementTree.parse(UI_FILE).iter()
        if element.tag in ("widget", "layout", "spacer")
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", SLICER_FILES, ids=lambda path: path.name)
def test_texts_can_be_translated(path):
    """A translator's tool reads the text out of the source: it must be one plain string."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_":
            (text,) = node.args
            assert isinstance(text, ast.Constant) and isinstance(text.value, str), f"line {node.lineno}"


SHOWING = {"setText", "setToolTip", "setTitle", "addItem", "showStatusMessage", "confirmYesNoDisplay", "errorDisplay"}


@pytest.mark.parametrize("path", SLICER_FILES, ids=lambda path: path.name)
def test_what_a_user_reads_goes_through_the_translation(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SHOWING:
            for argument in node.args:
                bare = isinstance(argument, ast.JoinedStr) or (isinstance(argument, ast.Constant) and argument.value)
                assert not (bare and isinstance(getattr(argument, "value", ""), str)), f"line {node.lineno}"


@pytest.mark.parametrize("path", SLICER_FILES, ids=lambda path: path.name)
def test_logs_name_no_nodes(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logging."):
            assert "GetName" not in ast.unparse(node) and ".name" not in ast.unparse(node), f"line {node.lineno}"
