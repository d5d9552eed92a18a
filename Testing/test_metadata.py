"""What builds and installers are told about HLFD: nothing is left out, and what two files tell is the same."""

import json
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
SEGMENTATION = CHECKOUT / "HLFDSegmentation"
MODULES = ("HLFDSegmentation", "HLFDTraining")
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
)
PACKAGES = ("torch", "monai", "SimpleITK", "numpy", "scipy")

each_module = pytest.mark.parametrize("module", MODULES)


def text_of(*parts: str) -> str:
    return CHECKOUT.joinpath(*parts).read_text(encoding="utf-8")


def lines_of(*parts: str) -> list[str]:
    """Lines as they act: what is commented out is another line."""
    return [line.strip() for line in text_of(*parts).splitlines()]


def told_once(pattern: str, *parts: str) -> str:
    """The one group of the one line that the pattern fits."""
    (told,) = re.findall(rf"^{pattern}$", text_of(*parts), re.MULTILINE)
    return told


def floors(text: str) -> dict[str, str]:
    """The lowest versions that are asked for, in lines like `numpy>=1.26`, with or without quotes."""
    return dict(re.findall(r'^\s*"?(\w+)>=([\d.]+)"?,?$', text, re.MULTILINE))


@each_module
def test_the_extension_adds_the_module(module):
    assert f"add_subdirectory({module})" in lines_of("CMakeLists.txt")


def test_the_extension_is_built_for_slicer():
    assert {"project(HLFD)", "find_package(Slicer REQUIRED)", "include(${Slicer_USE_FILE})"} <= set(
        lines_of("CMakeLists.txt")
    )


def test_the_extension_is_packed():
    last = [line for line in lines_of("CMakeLists.txt") if line and not line.startswith("#")][-2:]
    assert last == ["include(${Slicer_EXTENSION_GENERATE_CONFIG})", "include(${Slicer_EXTENSION_CPACK})"]


def test_the_extension_depends_on_the_one_that_installs_pytorch():
    assert 'set(EXTENSION_DEPENDS "PyTorch")' in lines_of("CMakeLists.txt")


@each_module
def test_the_module_is_tested_inside_slicer(module):
    lines = lines_of(module, "CMakeLists.txt")
    assert f"set(MODULE_NAME {module})" in lines
    macro = lines[lines.index("slicerMacroBuildScriptedModule(") :]
    assert "WITH_GENERIC_TESTS" in macro[: macro.index(")")]
    tests = lines[lines.index("if(BUILD_TESTING)") :]
    assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in tests[: tests.index("endif()")]


def test_slicer_installs_the_versions_that_the_wheel_asks_for():
    torch = told_once('TORCH = "(.+)"', "HLFDSegmentation", "HLFDSegmentationLib", "slicer_tools", "slicer_packages.py")
    asked_in_slicer = floors(torch) | floors(text_of("HLFDSegmentation", "Resources", "requirements.txt"))
    (dependencies,) = re.findall(r"^dependencies = \[\n(.*?)^\]$", text_of("pyproject.toml"), re.MULTILINE | re.DOTALL)
    asked_by_wheel = floors(dependencies)
    assert set(asked_by_wheel) == set(PACKAGES) and len(dependencies.splitlines()) == len(PACKAGES)
    assert asked_in_slicer == asked_by_wheel


def test_the_version_is_told_once_and_read_without_importing():
    """setuptools reads a plain text out of the source; it would import anything else, and torch is not there then."""
    told_once(r'__version__ = "(\d+\.\d+\.\d+)"', "HLFDSegmentation", "HLFDSegmentationLib", "__init__.py")
    lines = lines_of("pyproject.toml")
    assert 'dynamic = ["version"]' in lines
    assert 'version = { attr = "HLFDSegmentationLib.__version__" }' in lines


def test_the_wheel_is_under_the_licences_of_the_code_and_of_the_model():
    of_code = text_of("LICENSE")
    assert "Apache License" in of_code and "Version 2.0" in of_code
    of_models = list((SEGMENTATION / "Resources" / "Models").glob("*/LICENSE"))
    assert of_models and all("CC BY-NC-SA 4.0" in path.read_text(encoding="utf-8") for path in of_models)
    lines = lines_of("pyproject.toml")
    assert 'license = "Apache-2.0 AND CC-BY-NC-SA-4.0"' in lines
    assert 'license-files = ["LICENSE", "HLFDSegmentation/Resources/Models/*/LICENSE"]' in lines


def test_the_catalog_entry_follows_the_schema_and_the_extension():
    entry = json.loads(text_of("Resources", "HLFD.json"))
    assert set(entry) == {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "scm_revision",
        "scm_url",
        "tier",
    }
    assert entry["$schema"] == SCHEMA
    assert all(isinstance(entry[key], str) for key in ("build_subdirectory", "category", "scm_revision", "scm_url"))
    assert entry["build_subdirectory"] == "."
    assert entry["scm_revision"]
    assert entry["tier"] in range(1, 6)
    depends = told_once('set\\(EXTENSION_DEPENDS "(.*)"\\)', "CMakeLists.txt")
    assert entry["build_dependencies"] == depends.split()


@each_module
def test_the_catalog_shows_the_extension_where_slicer_shows_its_modules(module):
    category = json.loads(text_of("Resources", "HLFD.json"))["category"]
    assert f'parent.categories = [translate("qSlicerAbstractCoreModule", "{category}")]' in lines_of(
        module, f"{module}.py"
    )


def test_the_wheel_is_told_of_every_folder():
    (block,) = re.findall(r"^packages = \[\n(.*?)^\]$", text_of("pyproject.toml"), re.MULTILINE | re.DOTALL)
    folders = [
        path.parent.relative_to(CHECKOUT / module)
        for module in MODULES
        for path in (CHECKOUT / module).rglob("__init__.py")
    ]
    packages = [".".join(folder.parts) for folder in folders]
    assert sorted(re.findall(r'"(.+)"', block)) == sorted([*packages, "HLFDSegmentationLib.Models"])
