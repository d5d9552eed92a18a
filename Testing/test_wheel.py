"""What a user gets who installs the wheel and not the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from HLFDSegmentationLib import __version__

CHECKOUT = Path(__file__).parents[1]
MODELS = CHECKOUT / "HLFDSegmentation" / "Resources" / "Models"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """A copy of what the wheel is made of: what an earlier build left in the checkout would come with it."""
    folder = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, folder)
    for name in ("HLFDSegmentation", "HLFDTraining"):
        shutil.copytree(CHECKOUT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, sources]
    subprocess.run(command, check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with nothing but HLFD as the wheel brings it."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture
def said(installed, tmp_path):
    """What a command prints where the installed HLFD is found before the checkout, and the user has no models."""
    environment = os.environ | {"PYTHONPATH": str(installed), "HLFD_MODELS": str(tmp_path / "models")}

    def run(*command: str | Path) -> str:
        process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert process.returncode == 0, process.stderr
        return process.stdout.strip()

    return run


def test_wheel_holds_both_libraries_and_the_default_model(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    sources = {
        f"{root.name}/{path.relative_to(root).as_posix()}"
        for root in (
            CHECKOUT / "HLFDSegmentation" / "HLFDSegmentationLib",
            CHECKOUT / "HLFDTraining" / "HLFDTrainingLib",
        )
        for path in root.rglob("*.py")
    }
    shipped = {
        f"HLFDSegmentationLib/Models/{path.relative_to(MODELS).as_posix()}"
        for path in MODELS.rglob("*")
        if path.is_file()
    }
    assert sources <= held
    assert shipped and shipped <= held


def test_wheel_tells_its_licences_and_brings_them(installed):
    (told,) = installed.glob("hlfd-*.dist-info")
    assert "License-Expression: Apache-2.0 AND CC-BY-NC-SA-4.0\n" in (told / "METADATA").read_text(encoding="utf-8")
    for path in [CHECKOUT / "LICENSE", *MODELS.glob("*/LICENSE")]:
        assert (told / "licenses" / path.relative_to(CHECKOUT)).read_bytes() == path.read_bytes()


def test_installed_command_tells_the_version(installed, said):
    (told,) = installed.glob("hlfd-*.dist-info")
    assert told.name == f"hlfd-{__version__}.dist-info"
    assert said(shutil.which("hlfd", path=installed / "bin"), "--version") == f"hlfd {__version__}"


def test_installed_library_finds_the_default_model(installed, said):
    code = "from HLFDSegmentationLib.model_store import find_package; print(find_package(None).path)"
    path = Path(said(sys.executable, "-c", code))
    assert path.is_relative_to(installed) and path.name in {model.name for model in MODELS.iterdir()}
