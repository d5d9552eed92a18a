"""First use: what is missing is named, asked for and installed; every way in which that fails ends in a sentence."""

import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture
def packages(slicer_shell):
    from slicer_shell.packaging_stand_ins import packages

    return packages


@pytest.fixture
def ensure(slicer_shell):
    from HLFDSegmentationLib.slicer_packages import ensure_packages

    return ensure_packages


@pytest.fixture
def failing(ensure):
    from HLFDSegmentationLib.slicer_packages import PackagesMissingError

    def sentence() -> str:
        with pytest.raises(PackagesMissingError) as raised:
            ensure()
        return str(raised.value)

    return sentence


def answer(*values):
    from slicer_shell import dialogs

    dialogs.answer(*values)


def shown() -> list[str]:
    from slicer_shell import dialogs

    return dialogs.shown


def accept():
    import qt

    answer(qt.QMessageBox.Ok)


def decline():
    import qt

    answer(qt.QMessageBox.Cancel)


def test_nothing_is_asked_where_nothing_is_missing(ensure, packages):
    ensure()
    assert not shown() and not packages.installed


def test_one_question_names_all_that_is_missing_and_torch_comes_first(ensure, packages):
    packages.absent = {"torch", "monai"}
    accept()
    ensure()
    (question,) = shown()
    assert "HLFD needs" in question and "torch" in question and "monai" in question
    assert [text.split(">")[0] for text in packages.installed] == ["torch", "monai"]


def test_a_second_press_while_packages_are_installed_starts_nothing(ensure, failing, packages, monkeypatch):
    """Slicer draws while pip works, and its buttons can be pressed."""
    from slicer_shell import packaging_stand_ins

    sentences = []
    monkeypatch.setattr(packaging_stand_ins, "pip_install", lambda *_given, **_options: sentences.append(failing()))
    packages.absent = {"monai"}
    accept()
    with pytest.raises(Exception, match="does not find"):
        ensure()
    assert len(sentences) == len(shown()) == 1 and "being installed" in sentences[0]
    accept()
    with pytest.raises(Exception, match="does not find"):
        ensure()


def test_torch_is_never_given_to_pip(ensure, packages, monkeypatch):
    from slicer_shell import packaging_stand_ins

    given = []
    monkeypatch.setattr(packaging_stand_ins, "pip_install", lambda requirements, **options: given.extend(requirements))
    packages.absent = {"torch"}
    accept()
    ensure()
    assert packages.installed == ["torch>=2.10"] and not given


def test_too_old_a_version_is_missing(packages, monkeypatch):
    import importlib.metadata

    from HLFDSegmentationLib import slicer_packages

    old = {"torch": "2.9.1+cu128"}
    monkeypatch.setattr(slicer_packages, "version", lambda name: old.get(name) or importlib.metadata.version(name))
    assert slicer_packages.missing_packages() == ["torch>=2.10"]


def test_a_refusal_installs_nothing_and_says_how_to_go_on(failing, packages):
    packages.absent = {"torch"}
    decline()
    assert "HLFD cannot compute anything. Press the button again" in failing()
    assert not packages.installed


def test_offline(failing, packages):
    packages.absent, packages.outcome = {"torch"}, "offline"
    accept()
    sentence = failing()
    assert "does not reach pypi.org" in sentence and "internet" in sentence


def test_a_failed_installation(failing, packages):
    packages.absent, packages.outcome = {"monai"}, "fails"
    accept()
    sentence = failing()
    assert "monai" in sentence and "Error Log" in sentence


@pytest.mark.parametrize("name", ["torch", "monai"])
def test_an_installation_that_leaves_nothing_behind(failing, packages, name):
    packages.absent, packages.outcome = {name}, "ends without the package"
    accept()
    assert "estart Slicer and try again" in failing()


def test_without_the_extension_that_installs_torch_nothing_is_asked(failing, packages, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    packages.absent = {"torch"}
    sentence = failing()
    assert not shown()
    assert "extension 'PyTorch'" in sentence and "Extensions Manager" in sentence


def test_slicer_5_10_has_no_packaging_module(ensure, packages, slicer_shell, monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.delattr(slicer_shell, "packaging", raising=False)

    def pip_install(arguments: list[str]) -> None:
        *requirements, option, file = arguments
        assert option == "--constraint" and f"torch=={version('torch')}" in Path(file).read_text().split()
        packages.install(*requirements)

    monkeypatch.setattr(slicer_shell.util, "pip_install", pip_install)
    packages.absent = {"monai"}
    accept()
    ensure()
    assert packages.installed == ["monai>=1.5"]


def test_pytorch_stays_as_it_is_when_other_packages_are_installed(ensure, packages):
    """The newest monai asks for a newer PyTorch, which pip would take from where it fits no graphics card."""
    packages.absent = {"monai"}
    accept()
    ensure()
    assert packages.installed == ["monai>=1.5"]
    assert f"torch=={version('torch')}" in packages.constraints


def test_a_slicer_for_intel_macs_is_told_before_anything_is_downloaded(failing, packages, monkeypatch):
    from HLFDSegmentationLib import slicer_packages

    monkeypatch.setattr(slicer_packages, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(slicer_packages, "platform", SimpleNamespace(machine=lambda: "x86_64"))
    packages.absent = {"torch"}
    assert "Intel" in failing()
    assert not shown() and not packages.installed


def test_tests_install_nothing(failing, packages, slicer_shell):
    packages.absent = {"torch"}
    with slicer_shell.app.in_testing_mode():
        assert "Tests do not install" in failing()
    assert not shown() and not packages.installed


def test_scripts_are_told_the_call_and_nobody_is_asked(packages, slicer_shell):
    from HLFDSegmentationLib.slicer_packages import PackagesMissingError, require_packages

    packages.absent = {"torch"}
    with pytest.raises(PackagesMissingError, match="installPackages"):
        require_packages()
    assert not shown()
