"""Python packages that Slicer does not bring: asks for them, and installs them where the user agrees.

PyTorch is installed by its own extension, which picks the build that fits the graphics card; pip never gets to see it.
"""

from __future__ import annotations

import importlib
import logging
import platform
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory
from threading import Lock

import slicer
from slicer.i18n import tr as _

from .errors import HLFDError
from .slicer_status_bar import tell

TORCH = "torch>=2.10"
"""Before 2.10, weights from strangers could run code as they were loaded, weights_only or not (CVE-2026-24747)."""

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
PACKAGE_INDEX = ("pypi.org", 443)
OF_PYTORCH = ("torch", "torchvision")

_INSTALLING = Lock()


class PackagesMissingError(HLFDError):
    """Packages that HLFD needs are not installed."""


def missing_packages() -> list[str]:
    """What HLFD needs and this Python does not have, as pip reads it, PyTorch first. None of it is imported."""
    return [requirement for requirement in (TORCH, *_read(REQUIREMENTS)) if not _is_installed(requirement)]


def require_packages() -> None:
    """Does nothing where all is installed. For scripts: nobody is asked.

    Raises:
        PackagesMissingError: with the call that installs what is missing.
    """
    if missing := missing_packages():
        raise PackagesMissingError(
            _("Not installed: {names}. Call HLFDSegmentationLogic().installPackages() once.").format(
                names=", ".join(missing)
            )
        )


def ensure_packages(on_begin: Callable[[str], None] = tell) -> None:
    """Asks the user once for all that is missing, and installs it. Nothing happens where all is there.

    Args:
        on_begin: called with a sentence to show before an installation begins. Slicer draws little until it ends.

    Raises:
        PackagesMissingError: the user declined, a package could not be installed, or the installation that an earlier
            press of a button began is still going on; with what to do next.
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
    names = ", ".join(missing)
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
    install_torch = _torch_installer() if TORCH in missing else None
    _ask(missing, names)
    on_begin(_("Installing packages. This takes some minutes..."))
    slicer.app.processEvents()
    if install_torch:
        install_torch()
    _install([requirement for requirement in missing if requirement != TORCH])
    importlib.invalidate_caches()
    if still_missing := missing_packages():
        raise PackagesMissingError(
            _("Slicer does not find {names} after the installation. Restart Slicer and try again.").format(
                names=", ".join(still_missing)
            )
        )


def _read(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _is_installed(requirement: str) -> bool:
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        return wanted.specifier.contains(version(wanted.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _ask(missing: Sequence[str], names: str) -> None:
    question = [
        _("HLFD needs Python packages that are not installed yet: {names}.").format(names=names),
        _("They will be downloaded into this Slicer and installed."),
    ]
    if TORCH in missing:
        question.append(_("PyTorch is large (0.2 GB, or 3 GB with a graphics card) and takes some minutes."))
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
        with _explaining("PyTorch"), slicer.util.WaitCursor():
            if PyTorchUtilsLogic().installTorch(torchVersionRequirement=TORCH.removeprefix("torch")) is None:
                raise RuntimeError("PyTorchUtils installed nothing")

    return install


def _install(requirements: Sequence[str]) -> None:
    if not requirements:
        return
    with _explaining(", ".join(requirements)), TemporaryDirectory() as folder:
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
    # An installer raises CalledProcessError or RuntimeError; a package that it left unusable, ImportError or OSError.
    except (CalledProcessError, RuntimeError, ImportError, OSError) as error:
        logging.exception("HLFD: packages could not be installed")
        raise PackagesMissingError(_not_installed(names)) from error


def _not_installed(names: str) -> str:
    if not _package_index_answers():
        return _(
            "{names} could not be installed: this computer does not reach {host}. Connect it to the internet, or "
            "ask who runs your network for access, and try again."
        ).format(names=names, host=PACKAGE_INDEX[0])
    return _(
        "{names} could not be installed. Check that the disk has some free GB; View > Error Log shows what the "
        "installer said. Then restart Slicer and try again."
    ).format(names=names)


def _package_index_answers() -> bool:
    try:
        socket.create_connection(PACKAGE_INDEX, timeout=3).close()
    except OSError:
        return False
    return True
