"""First use: what is missing is named, asked for and installed; every way in which that fails ends in a sentence."""

import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from slicer_module_window import answer, asked


@pytest.fixture
def packages(slicer_shell):
    from slicer_shell.packaging_stand_ins import packages

    return packages


@pytest.fixture
def ensure(slicer_shell):
    from HLFDSegmentationLib.slicer_tools.slicer_packages import ensure_packages

    return ensure_packages


@pytest.fixture
def failing(ensure):
    from HLFDSegmentationLib.slicer_tools.slicer_packages import PackagesMissingError

    def sentence() -> str:
        with pytest.raises(PackagesMissingError) as raised:
            ensure()
        return str(raised.value)

    return sentence


def accept():
    import qt

    answer(qt.QMessageBox.Ok)


def decline():
    import qt

    answer(qt.QMessageBox.Cancel)


def test_nothing_is_asked_where_nothing_is_missing(ensure, packages):
    ensure()
    assert not asked() and not packages.installed


def test_one_question_names_all_that_is_missing_and_torch_comes_first(ensure, packages):
    packages.absent = {"torch", "monai"}
    accept()
    ensure()
    (question,) = asked()
    assert "Not installed yet: PyTorch 2.10 or newer, MONAI 1.5 or newer." in question
    assert "replaced" not in question
    assert "save your scene first" in question
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
    assert len(sentences) == len(asked()) == 1 and "being installed" in sentences[0]
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


def installed(packages, monkeypatch, name: str, told: str | None) -> None:
    """Makes Python tell this version of a package, until one is installed."""
    import importlib.metadata

    from HLFDSegmentationLib.slicer_tools import slicer_packages

    real = importlib.metadata.version

    def version(asked: str) -> str | None:
        return told if asked == name and not packages.installed else real(asked)

    for module in (importlib.metadata, slicer_packages):
        monkeypatch.setattr(module, "version", version)


@pytest.mark.parametrize(
    ("name", "version", "sentence"),
    [
        ("torch", "2.9.1+cu128", "PyTorch 2.9.1 is installed, but HLFD needs PyTorch 2.10 or newer."),
        ("monai", "1.3.0", "MONAI 1.3.0 is installed, but HLFD needs MONAI 1.5 or newer."),
    ],
)
def test_too_old_a_version_is_replaced_when_the_user_knows_it(ensure, packages, monkeypatch, name, version, sentence):
    """Another extension may need the old one."""
    installed(packages, monkeypatch, name, version)
    accept()
    ensure()
    (question,) = asked()
    assert sentence in question and "replaced for all extensions" in question
    assert "Not installed yet" not in question
    assert ("not safe" in question) == (name == "torch")
    assert [text.split(">")[0] for text in packages.installed] == [name]


@pytest.mark.parametrize("version", [None, "unknown"])
def test_a_package_without_a_version_is_missing_and_in_the_way(packages, failing, monkeypatch, version):
    """As an interrupted installation leaves it: pip says that it is installed."""
    from HLFDSegmentationLib.slicer_tools.slicer_packages import missing_packages

    installed(packages, monkeypatch, "monai", version)
    assert missing_packages() == ["monai>=1.5"]
    assert "monai-*.dist-info" in failing()
    assert not asked()


def test_a_folder_without_metadata_is_a_package_without_a_version(slicer_shell, monkeypatch, tmp_path):
    from HLFDSegmentationLib.slicer_tools.slicer_packages import missing_packages

    (tmp_path / "monai-1.5.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert missing_packages() == ["monai>=1.5"]


def test_a_folder_that_may_not_be_written_is_told_before_anything_is_asked(failing, packages, monkeypatch, tmp_path):
    """As where an administrator has installed Slicer."""
    from HLFDSegmentationLib.slicer_tools import slicer_packages

    def refuse(folder: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(slicer_packages, "make_aside", refuse)
    packages.absent = {"torch"}
    sentence = failing()
    assert "site-packages cannot be written (Permission denied)" in sentence
    assert "Ask who installed Slicer to install PyTorch 2.10 or newer" in sentence
    assert not asked() and not packages.installed


def test_asking_for_the_right_to_write_leaves_nothing(ensure, packages, monkeypatch, tmp_path):
    import sysconfig

    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    packages.absent = {"monai"}
    accept()
    ensure()
    assert not list(tmp_path.iterdir())


def test_a_refusal_installs_nothing_and_says_how_to_go_on(failing, packages):
    packages.absent = {"torch"}
    decline()
    assert "HLFD cannot compute anything. Press the button again" in failing()
    assert not packages.installed


@pytest.fixture
def no_other_way(slicer_shell, monkeypatch):
    """A network without a proxy or a mirror, wherever the tests run."""
    from HLFDSegmentationLib.slicer_tools import slicer_packages

    monkeypatch.setattr(slicer_packages, "getproxies", dict)
    for name in slicer_packages.OTHER_WAYS:
        monkeypatch.delenv(name, raising=False)


def test_offline(failing, packages, no_other_way):
    packages.absent, packages.outcome = {"torch"}, "offline"
    accept()
    sentence = failing()
    assert "does not reach pypi.org" in sentence and "internet" in sentence and "download.pytorch.org" in sentence


def test_behind_a_proxy_pypi_need_not_be_reached(failing, packages, no_other_way, monkeypatch):
    from HLFDSegmentationLib.slicer_tools import slicer_packages

    monkeypatch.setattr(slicer_packages, "getproxies", lambda: {"https": "http://proxy.hospital:8080"})
    assert_all_causes_are_told(failing, packages)


def test_with_a_mirror_pypi_need_not_be_reached(failing, packages, no_other_way, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.hospital/simple")
    assert_all_causes_are_told(failing, packages)


def assert_all_causes_are_told(failing, packages) -> None:
    packages.absent, packages.outcome = {"torch"}, "offline"
    accept()
    sentence = failing()
    assert "does not reach" not in sentence
    for cause in ("proxy", "certificates", "files.pythonhosted.org", "download.pytorch.org", "disk", "Error Log"):
        assert cause in sentence


def test_a_failed_installation(failing, packages):
    packages.absent, packages.outcome = {"monai"}, "fails"
    accept()
    sentence = failing()
    assert "MONAI" in sentence and "Error Log" in sentence


def test_a_pytorch_that_was_installed_and_does_not_load(ensure, packages, monkeypatch, tmp_path):
    """Its extension imports it at the end, in Slicer. The disk is not to blame."""
    from HLFDSegmentationLib.torch_loading import MissingError
    from slicer_shell.packaging_stand_ins import PyTorchUtilsLogic

    (tmp_path / "torch.py").write_text("raise OSError('[WinError 126] Error loading c10.dll')")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(PyTorchUtilsLogic, "_module", staticmethod(lambda: __import__("torch")))
    packages.absent = {"torch"}
    accept()
    with pytest.raises(MissingError, match="Visual C") as raised:
        ensure()
    assert "c10.dll" in str(raised.value)


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_slicers_own_check_of_a_damaged_package_ends_in_a_sentence(failing, packages, monkeypatch, error):
    from slicer_shell import packaging_stand_ins

    def stumble(_requirement: object) -> bool:
        raise error("'NoneType' object is not iterable")

    monkeypatch.setattr(packaging_stand_ins, "_is_satisfied", stumble)
    packages.absent = {"monai"}
    accept()
    assert "MONAI could not be installed" in failing()


@pytest.mark.parametrize("name", ["torch", "monai"])
def test_an_installation_that_leaves_nothing_behind(failing, packages, name):
    packages.absent, packages.outcome = {name}, "ends without the package"
    accept()
    assert "estart Slicer and try again" in failing()


def test_without_the_extension_that_installs_torch_nothing_is_asked(failing, packages, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    packages.absent = {"torch"}
    sentence = failing()
    assert not asked()
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
    from HLFDSegmentationLib.slicer_tools import slicer_packages

    monkeypatch.setattr(slicer_packages, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(slicer_packages, "platform", SimpleNamespace(machine=lambda: "x86_64"))
    packages.absent = {"torch"}
    assert "Intel" in failing()
    assert not asked() and not packages.installed


def test_tests_install_nothing(failing, packages, slicer_shell):
    packages.absent = {"torch"}
    with slicer_shell.app.in_testing_mode():
        assert "Tests do not install" in failing()
    assert not asked() and not packages.installed


def test_scripts_are_told_the_call_and_nobody_is_asked(packages, slicer_shell):
    from HLFDSegmentationLib.slicer_tools.slicer_packages import PackagesMissingError, require_packages

    packages.absent = {"torch"}
    with pytest.raises(PackagesMissingError, match="installPackages"):
        require_packages()
    assert not asked()
