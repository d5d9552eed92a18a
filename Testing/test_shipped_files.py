"""What reaches users: every file of the module is installed, the panel fits its code, texts can be translated."""

import ast
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


class SlicerModule:
    """The files of a module."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = CHECKOUT / name
        self.file = self.folder / f"{name}.py"
        self.ui_file = self.folder / "Resources" / "UI" / f"{name}.ui"
        self.slicer_files = [self.file, *sorted((self.folder / f"{name}Lib").rglob("slicer_*.py"))]

    def listed_files(self, variable: str) -> set[str]:
        text = (self.folder / "CMakeLists.txt").read_text(encoding="utf-8")
        (block,) = re.findall(rf"set\({variable}\n(.*?)\n\s*\)", text, re.DOTALL)
        return {line.strip().replace("${MODULE_NAME}", self.name) for line in block.splitlines()}

    def files(self) -> set[str]:
        files = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        hidden = ("__pycache__", ".")
        return {
            path.as_posix()
            for path in files
            if path.name != "CMakeLists.txt" and not any(part.startswith(hidden) for part in path.parts)
        }

    def widgets(self) -> dict[str, ElementTree.Element]:
        return {widget.get("name"): widget for widget in ElementTree.parse(self.ui_file).iter("widget")}

    def names_on_ui(self) -> set[str]:
        names = set()
        for path in self.slicer_files:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("ui", "self.ui"):
                    names.add(node.attr)
        return names


MODULES = [SlicerModule(name) for name in ("HLFDSegmentation", "HLFDTraining")]
SLICER_FILES = [path for module in MODULES for path in module.slicer_files]

# Widgets that only lay out or name others; code has no business with them.
PASSIVE = re.compile(r"(Label|CollapsibleButton|Group|Layout|HLFDSegmentation|HLFDTraining)$")

each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


@each_module
def test_every_file_of_the_module_is_installed_and_nothing_else(module):
    scripts, resources = module.listed_files("MODULE_PYTHON_SCRIPTS"), module.listed_files("MODULE_PYTHON_RESOURCES")
    assert scripts | resources == module.files()
    assert all(name.endswith(".py") for name in scripts)
    assert not any(name.endswith(".py") for name in resources)


@each_module
def test_nothing_heavy_is_imported_with_the_module(module):
    names = [".".join(path.relative_to(module.folder).with_suffix("").parts) for path in module.slicer_files]
    folders = [str(module.folder) for module in MODULES]
    code = f"""
import importlib, sys
sys.path[:0] = [*{folders}, {str(Path(__file__).parent)!r}]
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


@each_module
def test_the_panel_has_every_widget_that_the_code_names(module):
    assert module.names_on_ui() <= set(module.widgets())


@each_module
def test_the_code_uses_every_widget_of_the_panel(module):
    used = module.names_on_ui()
    for name, widget in module.widgets().items():
        is_parameter = widget.find("property[@name='SlicerParameterName']") is not None
        assert name in used or is_parameter or PASSIVE.search(name), f"nothing uses {name}"


@each_module
def test_parameter_names_of_the_panel_are_fields_of_the_parameter_node(module):
    tree = ast.parse(module.file.read_text(encoding="utf-8"))
    (parameters,) = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == f"{module.name}ParameterNode"
    ]
    fields = {node.target.id for node in parameters.body if isinstance(node, ast.AnnAssign)}
    named = [
        found.findtext("string")
        for widget in module.widgets().values()
        if (found := widget.find("property[@name='SlicerParameterName']")) is not None
    ]
    assert set(named) <= fields
    assert len(named) == len(set(named))


@each_module
def test_every_control_has_a_tooltip(module):
    for name, widget in module.widgets().items():
        if widget.get("class") in ("QWidget", "qMRMLWidget", "ctkCollapsibleButton") or name.endswith("Label"):
            continue
        assert widget.findtext("property[@name='toolTip']/string"), f"{name} has no tooltip"


@each_module
def test_every_name_in_the_panel_is_given_once(module):
    names = [
        element.get("name")
        for element in ElementTree.parse(module.ui_file).iter()
        if element.tag in ("widget", "layout", "spacer")
    ]
    assert len(names) == len(set(names))


def slicer_calls() -> list[tuple[str, ast.Call]]:
    """Every call in the files of the modules, and where it stands."""
    return [
        (f"{path.name}, line {node.lineno}", node)
        for path in SLICER_FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_texts_can_be_translated():
    """A translator's tool reads the text out of the source: it must be one plain string."""
    translated = [(place, call) for place, call in slicer_calls() if ast.unparse(call.func) == "_"]
    assert translated
    assert [place for place, call in translated if not (len(call.args) == 1 and is_text(call.args[0]))] == []


SHOWING = {"setText", "setToolTip", "setTitle", "addItem", "showStatusMessage", "confirmYesNoDisplay", "errorDisplay"}


def test_what_a_user_reads_goes_through_the_translation():
    showing = [
        (place, argument)
        for place, call in slicer_calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr in SHOWING
        for argument in call.args
    ]
    assert showing
    bare = [place for place, shown in showing if isinstance(shown, ast.JoinedStr) or (is_text(shown) and shown.value)]
    assert bare == []


def test_logs_name_no_nodes():
    logs = [
        (place, ast.unparse(call)) for place, call in slicer_calls() if ast.unparse(call.func).startswith("logging.")
    ]
    assert logs
    assert [place for place, call in logs if "GetName" in call or ".name" in call] == []


def test_git_never_changes_the_line_ends_of_a_model():
    """Its manifest names the hashes of texts, too: with other line ends the model would count as damaged."""
    if not (CHECKOUT / ".git").exists():
        pytest.skip("this is no git checkout")
    texts = [str(path) for path in (CHECKOUT / "HLFDSegmentation/Resources/Models").rglob("*") if path.is_file()]
    command = ["git", "check-attr", "text", "--", *texts]
    told = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == len(texts) > 3 and all(line.endswith("text: unset") for line in told)
