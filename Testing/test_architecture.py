"""Which part may import which, and what a class may use of another one."""

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
SEGMENTATION = CHECKOUT / "HLFDSegmentation" / "HLFDSegmentationLib"
TRAINING = CHECKOUT / "HLFDTraining" / "HLFDTrainingLib"
SLICER = {"slicer", "qt", "ctk", "vtk"}
OWN = {SEGMENTATION.name: SEGMENTATION, TRAINING.name: TRAINING}


def imported(path: Path) -> set[str]:
    """Names of modules that a file imports, as they are written."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module or ''}", *(f"{node.module or ''}.{alias.name}" for alias in node.names)}
    return names


def test_only_files_that_say_so_need_slicer():
    named = {path: imported(path) for library in OWN.values() for path in library.rglob("*.py")}
    need_slicer = {
        path.name
        for path, names in named.items()
        if {name.split(".")[0] for name in names} & SLICER
        or any(part.startswith("slicer_") for name in names for part in name.split("."))
    }
    assert need_slicer
    assert [name for name in sorted(need_slicer) if not name.startswith("slicer_")] == []


def test_segmentation_does_not_know_training():
    named = {path: imported(path) for path in SEGMENTATION.rglob("*.py")}
    assert any(named.values())
    assert [file for file, names in named.items() if any("HLFDTrainingLib" in name for name in names)] == []


def folders_imported(library: Path) -> dict[str, set[str]]:
    """For each folder of a library, those of its other folders that a file of it imports from, also in a function."""
    folders = {path.parent.name for path in library.glob("*/__init__.py")}
    found: dict[str, set[str]] = {folder: set() for folder in folders}
    for path in [path for folder in folders for path in (library / folder).glob("*.py")]:
        names = imported_whole(path, ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        inside = [name.split(".")[1] for name in names if name.startswith(f"{library.name}.")]
        found[path.parent.name] |= {name for name in inside if name in folders - {path.parent.name}}
    return found


@pytest.mark.parametrize("library", [SEGMENTATION, TRAINING], ids=lambda path: path.name)
def test_folders_do_not_import_each_other_in_circles(library):
    imports = folders_imported(library)
    graphlib.TopologicalSorter(imports).prepare()
    assert not imports.get("slicer_tools", set()) & {"slicer_scene", "slicer_panels"}
    assert "slicer_scene" in imports["slicer_panels"]  # And so not the other way round.


def test_each_file_at_the_top_and_each_folder_is_told_and_no_other():
    told = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for library in (SEGMENTATION, TRAINING):
        section = told.split(f"## {library.name}\n")[1].split("\n## ")[0]
        files, folders = (
            [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])]
            for table in section.split("| folder | |")
        )
        assert sorted(files) == sorted(path.stem for path in library.glob("*.py") if path.stem != "__init__")
        assert sorted(folders) == sorted(
            path.parent.relative_to(library).as_posix() for path in library.glob("*/**/__init__.py")
        )


def test_no_training_uses_the_generator_of_the_demo():
    trainers = [path for path in TRAINING.rglob("*.py") if path.name != "segmenting.py"]
    for path in [*trainers, *(CHECKOUT / "Testing" / "experiments").glob("*.py")]:
        assert not any("phantom" in name for name in imported(path)), path


@pytest.mark.parametrize("module", ["HLFDSegmentationLib.inference", "HLFDSegmentationLib.pipeline"])
def test_segmenting_does_not_wait_for_monai(module):
    code = f"import sys, {module}; sys.exit('monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def imported_at_once(path: Path) -> set[str]:
    """Whole names of what a file imports outside of functions: of modules, and of what is taken out of them."""
    return imported_whole(path, ast.parse(path.read_text(encoding="utf-8")).body)


def imported_whole(path: Path, nodes: Iterable[ast.AST]) -> set[str]:
    """Whole names of what some nodes of a file's tree import."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(CHECKOUT).parts[1 : -node.level] if node.level else ()
            module = ".".join([*package, *([node.module] if node.module else [])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def loaded_with(path: Path) -> set[str]:
    """Names of the packages of others that are loaded when a file is imported."""
    of_others, seen, waiting = set(), set(), [path]
    while waiting:
        file = waiting.pop()
        seen.add(file)
        for name in imported_at_once(file):
            first, *rest = name.split(".")
            if first not in OWN:
                of_others.add(first)
                continue
            module = OWN[first].joinpath(*rest)
            passed = {OWN[first].joinpath(*rest[:depth], "__init__.py") for depth in range(len(rest) + 1)}
            files = {module.with_suffix(".py"), *passed}
            waiting += [one for one in files if one.is_file() and one not in seen]
    return of_others


@pytest.mark.parametrize("module", ["HLFDSegmentation", "HLFDTraining"])
def test_slicer_opens_a_module_with_what_it_has_in_memory_anyway(module):
    """A package that takes seconds to load, or is not installed, would freeze Slicer or keep the module away."""
    allowed = {*sys.stdlib_module_names, *SLICER, "numpy"}
    assert loaded_with(CHECKOUT / module / f"{module}.py") <= allowed


def classes_in(*folders: Path) -> dict[str, ast.ClassDef]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for folder in folders for path in folder.rglob("*.py")]
    return {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def private_names(node: ast.ClassDef) -> set[str]:
    """Underscore names of what a class has or uses."""
    names = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    names |= {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def test_no_class_uses_what_its_base_keeps_to_itself():
    """Whoever changes the base would break it without noticing."""
    classes = classes_in(SEGMENTATION, TRAINING)
    pairs = [(node, base.id) for node in classes.values() for base in node.bases if isinstance(base, ast.Name)]
    for node, base in pairs:
        if base in classes:
            assert private_names(node) & private_names(classes[base]) == set(), f"{node.name} of {base}"


def test_nodes_are_looked_for_in_the_scene_that_is_meant():
    """slicer.util.getNodesByClass takes a scene, and looks at Slicer's own all the same: `nodes_of` does not."""
    calls = [
        (f"{path.name}, line {node.lineno}", node)
        for library in OWN.values()
        for path in library.rglob("slicer_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "getNodesByClass"
    ]
    assert calls
    assert [place for place, call in calls if len(call.args) != 1 or call.keywords] == []
