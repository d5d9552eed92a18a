"""Python packages that Slicer does not bring: asks for them, and installs them where the user agrees.

PyTorch is installed by its own extension, which picks the build that fits the graphics card; pip never gets to see it.
"""

from __future__ import annotations

import importlib
import logging
import os
import platform
import socket
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING
from urllib.request import getproxies

import slicer
from slicer.i18n import tr as _

from ..errors import HLFDError
from ..output.safe_files import make_aside
from ..torch_loading import explaining_torch
from .slicer_status_bar import tell

if TYPE_CHECKING:
    from packaging.version import Version

TORCH = "torch>=2.10"
"""Before 2.10, weights from strangers could run code as they were loaded, weights_only or not (CVE-2026-24747)."""

REQUIREMENTS = Path(__file__).resolve().parents[2] / "Resources" / "requirements.txt"
PACKAGE_NAMES = {"torch": "PyTorch", "monai": "MONAI", "numpy": "NumPy", "scipy": "SciPy"}
"""As their makers write them, where that is not the name that pip knows."""

PACKAGE_INDEX = ("pypi.org", 443)
HOSTS = "pypi.org, files.pythonhosted.org, download.pytorch.org"
OTHER_WAYS = {"PIP_INDEX_URL", "PIP_PROXY", "PIP_CONFIG_FILE"}
"""Variables by which pip gets packages where pypi.org is not reached."""

OF_PYTORCH = ("torch", "torchvision")

_INSTALLING = Lock()


class PackagesMissingError(HLFDError):
    """Packages that HLFD needs are not installed."""


def missing_packages() -> list[str]:
    """What HLFD needs and this Python does not have, as pip reads it, PyTorch first. None of it is imported."""
    return [requirement for requirement in (TORCH, *_read(REQUIREMENTS)) if not _is_installed(requirement)]


def missing_sentences(missing: Sequence[str]) -> list[str]:
    """What users read of missing packages: which are not there, and which are, in a version that is too old."""
    old = _too_old(missing)
    sentences = []
    if absent := [requirement for requirement in missing if requirement not in old]:
        sentences.append(_("Not installed yet: {names}.").format(names=_plain(absent)))
    for requirement, found in old.items():
        sentences.append(
            _("{name} {version} is installed, but HLFD needs {needed}.").format(
                name=_plain_name(requirement), version=found.public, needed=_plain([requirement])
            )
        )
    return sentences


def require_packages() -> None:
    """Does nothing where all is installed. For scripts: nobody is asked.

    Raises:
        PackagesMissingError: with the call that installs what is missing.
    """
    if missing := missing_packages():
        raise PackagesMissingError(
            _("Not installed: {names}. Call HLFDSegmentationLogic().installPackages() once.").format(
                names=_plain(missing)
            )
        )


def ensure_packages(on_begin: Callable[[str], None] = tell) -> None:
    """Asks the user once for all that is missing, and installs it. Nothing happens where all is there.

    Args:
        on_begin: called with a sentence to show before an installation begins. Slicer draws little until it ends.

    Raises:
        PackagesMissingError: the user declined, a package could not be installed, or the installation that an earlier
            press of a button began is still going on; with what to do next.
        MissingError: PyTorch was installed, and cannot be loaded.
    """
    missing = missing_packages()
    if not missing:
        return
    # Buttons can be pressed while an installer tells how far it is.
    if not _INSTALLING.acquire(blocking=False):
        raise PackagesMissingError(_("The packages are being installed. Wait until that is done."))
    try:
        _ask_and_install(missing, on_begin)
    finally:
        _INSTALLING.release()


def _ask_and_install(missing: Sequence[str], on_begin: Callable[[str], None]) -> None:
    names = _plain(missing)
    if slicer.app.testingEnabled():
        raise PackagesMissingError(
            _("These Python packages are missing: {names}. Tests do not install any; install them first.").format(
                names=names
            )
        )
    if TORCH in missing and sys.platform == "darwin" and platform.machine() == "x86_64":
        raise PackagesMissingError(
            _(
                "PyTorch is no longer made for Intel programs on a Mac, which this Slicer is, also on a Mac with an "
                "Apple chip. HLFD needs a Slicer that was built for Apple chips (arm64), or another computer."
            )
        )
    _refuse_damaged(missing)
    _refuse_unwritable(names)
    install_torch = _torch_installer() if TORCH in missing else None
    _ask(missing, names)
    on_begin(_("Installing packages. This takes some minutes, in which Slicer stands still: do not close it."))
    slicer.app.processEvents()
    if install_torch:
        install_torch()
    _install([requirement for requirement in missing if requirement != TORCH])
    importlib.invalidate_caches()
    if still_missing := missing_packages():
        raise PackagesMissingError(
            _("Slicer does not find {names} after the installation. Restart Slicer and try again.").format(
                names=_plain(still_missing)
            )
        )


def _read(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _is_installed(requirement: str) -> bool:
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    found = _installed_version(wanted.name)
    return found is not None and wanted.specifier.contains(found, prereleases=True)


def _installed_version(name: str) -> Version | None:
    """None where it is not installed, or so damaged that it has no version."""
    from packaging.version import Version

    try:
        return Version(version(name))
    except (PackageNotFoundError, TypeError, ValueError, OSError):  # OSError: of importlib_metadata, once it is loaded
        return None


def _too_old(missing: Sequence[str]) -> dict[str, Version]:
    """Which of the missing requirements a package is there for, and its version."""
    return {each: found for each in missing if (found := _installed_version(_name(each)))}


def _name(requirement: str) -> str:
    """What pip knows it by."""
    return requirement.partition(">=")[0]


def _plain_name(requirement: str) -> str:
    """What users know it by."""
    return PACKAGE_NAMES.get(_name(requirement), _name(requirement))


def _plain(requirements: Sequence[str]) -> str:
    """Requirements as users read them: "PyTorch 2.10 or newer, MONAI 1.5 or newer"."""
    return ", ".join(
        _("{name} {version} or newer").format(name=_plain_name(one), version=one.partition(">=")[2])
        for one in requirements
    )


def _refuse_damaged(missing: Sequence[str]) -> None:
    """Raises PackagesMissingError where a package has lost its version: pip takes it for installed, all the same."""
    folders = []
    for name in map(_name, missing):
        with suppress(PackageNotFoundError):
            distribution(name)
            if _installed_version(name) is None:
                folders.append(str(Path(sysconfig.get_path("purelib"), f"{name}-*.dist-info")))
    if folders:
        raise PackagesMissingError(
            _(
                "An interrupted installation has left what no installer can mend. Close Slicer, delete these folders, "
                "start Slicer and try again: {folders}"
            ).format(folders=", ".join(folders))
        )


def _refuse_unwritable(names: str) -> None:
    """Raises PackagesMissingError where the user may not write, as where an administrator has installed Slicer."""
    folder = sysconfig.get_path("purelib")
    try:
        make_aside(Path(folder)).rmdir()
    except OSError as error:
        raise PackagesMissingError(
            _(
                "Nothing can be installed into this Slicer: its folder {folder} cannot be written ({reason}). Ask who "
                "installed Slicer to install {names} in it, or install Slicer into a folder of your own."
            ).format(folder=folder, reason=error.strerror, names=names)
        ) from error


def _ask(missing: Sequence[str], names: str) -> None:
    question = [_("HLFD needs Python packages that this Slicer does not have."), *missing_sentences(missing)]
    if old := _too_old(missing):
        question.append(
            _("What is too old will be replaced for all extensions of this Slicer; some may need the old one.")
        )
    if TORCH in old:
        question.append(_("Older versions of PyTorch are not safe with model files from others."))
    question.append(_("They will be downloaded into this Slicer and installed."))
    if TORCH in missing:
        question.append(_("PyTorch is large (0.2 GB, or 3 GB with a graphics card) and takes some minutes."))
    question.append(
        _("Slicer stands still meanwhile and may be called not responding: save your scene first, and do not close it.")
    )
    if not slicer.util.confirmOkCancelDisplay("\n\n".join(question), _("HLFD: install packages")):
        raise PackagesMissingError(
            _("Without {names} HLFD cannot compute anything. Press the button again when you want to install.").format(
                names=names
            )
        )


def _torch_installer() -> Callable[[], None]:
    """What installs PyTorch. It is looked for before the user is asked: without it nothing can be agreed to."""
    try:
        from PyTorchUtils import PyTorchUtilsLogic
    except ImportError as error:
        raise PackagesMissingError(
            _(
                "PyTorch is missing, and the extension that installs it too. Install the extension 'PyTorch' in "
                "Slicer's Extensions Manager, restart Slicer, and try again."
            )
        ) from error

    def install() -> None:
        with _explaining("PyTorch"), explaining_torch(), slicer.util.WaitCursor():
            if PyTorchUtilsLogic().installTorch(torchVersionRequirement=TORCH.removeprefix("torch")) is None:
                raise RuntimeError("PyTorchUtils installed nothing")

    return install


def _install(requirements: Sequence[str]) -> None:
    if not requirements:
        return
    with _explaining(", ".join(map(_plain_name, requirements))), TemporaryDirectory() as folder:
        kept = Path(folder) / "constraints.txt"
        kept.write_text(_installed_pytorch(), encoding="utf-8")
        try:
            from slicer.packaging import pip_ensure
        except ImportError:  # Slicer 5.10
            slicer.util.pip_install([*requirements, "--constraint", str(kept)])
        else:
            pip_ensure(requirements, constraints=kept, prompt_install=False, requester="HLFD")


def _installed_pytorch() -> str:
    """Constraints by which pip leaves PyTorch as it is; a package that asks for a newer one would replace it."""
    lines = []
    for name in OF_PYTORCH:
        with suppress(PackageNotFoundError):
            lines.append(f"{name}=={version(name)}\n")
    return "".join(lines)


@contextmanager
def _explaining(names: str) -> Iterator[None]:
    """Turns what an installer raises into a sentence with a remedy."""
    try:
        yield
    # An installer raises CalledProcessError or RuntimeError; a package that it left unusable, ImportError or OSError;
    # Slicer's check of one without a version, TypeError or ValueError.
    except (CalledProcessError, RuntimeError, ImportError, OSError, TypeError, ValueError) as error:
        logging.exception("HLFD: packages could not be installed")
        raise PackagesMissingError(_not_installed(names)) from error


def _not_installed(names: str) -> str:
    if not _has_other_way() and not _package_index_answers():
        return _(
            "{names} could not be installed: this computer does not reach {host}. Connect it to the internet, or "
            "ask who runs your network for access to {hosts}, and try again."
        ).format(names=names, host=PACKAGE_INDEX[0], hosts=HOSTS)
    return _(
        "{names} could not be installed. View > Error Log shows what the installer said. Check that your network, its "
        "proxy and its certificates let pip reach {hosts}; that the disk has some free GB; and that you may write into "
        "Slicer's folder. Then restart Slicer and try again."
    ).format(names=names, hosts=HOSTS)


def _has_other_way() -> bool:
    return bool(getproxies().keys() & {"http", "https", "all"} or os.environ.keys() & OTHER_WAYS)


def _package_index_answers() -> bool:
    try:
        socket.create_connection(PACKAGE_INDEX, timeout=3).close()
    except OSError:
        return False
    return True
