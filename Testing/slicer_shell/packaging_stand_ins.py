"""`slicer.packaging` and the PyTorch extension, over a Python whose packages a test chooses. Nothing is installed."""

import importlib.metadata
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest import mock

import slicer
from packaging.requirements import Requirement

real_from_name = importlib.metadata.Distribution.from_name


class PythonPackages:
    """Slicer's Python as a test wants it.

    Attributes:
        absent: names of the packages that are not installed, and of no others; an installation takes them out.
        outcome: how an installation ends: "works", "offline", "fails", or "ends without the package".
        installed: requirements that were handed to an installer, in their order.
        constraints: lines of what pip had to keep to at the last installation.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """All packages of the real Python are there."""
        self.absent: set[str] = set()
        self.outcome = "works"
        self.installed: list[str] = []
        self.constraints: list[str] = []

    def install(self, *requirements: str) -> None:
        """What pip does.

        Raises:
            subprocess.CalledProcessError: as pip's exit code 1 ends in.
        """
        self.installed += requirements
        if self.outcome in ("offline", "fails"):
            raise subprocess.CalledProcessError(1, [sys.executable, "-m", "pip", "install", *requirements])
        if self.outcome == "works":
            self.absent -= {Requirement(text).name for text in requirements}

    def uninstall(self, *names: str) -> None:
        self.absent |= set(names)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While this lasts Python itself takes the absent packages for missing, and the network for down if offline."""
        with (
            mock.patch.object(importlib.metadata.Distribution, "from_name", self._distribution),
            mock.patch.object(socket, "create_connection", self._connect),
        ):
            yield

    def _distribution(self, name: str) -> importlib.metadata.Distribution:
        if name in self.absent:
            raise importlib.metadata.PackageNotFoundError(name)
        return real_from_name(name)

    def _connect(self, *_arguments: object, **_options: object) -> socket.socket:
        if self.outcome == "offline":
            raise OSError("Network is unreachable")
        return socket.socket()


packages = PythonPackages()


class PyTorchUtilsLogic:
    """The logic of the extension PyTorch."""

    @staticmethod
    def torchInstalled() -> bool:  # noqa: N802
        return pip_check("torch")

    @property
    def torch(self) -> ModuleType | None:
        return self._module() if self.torchInstalled() else self.installTorch()

    def installTorch(  # noqa: N802
        self,
        askConfirmation: bool = False,  # noqa: N803
        forceComputationBackend: str | None = None,  # noqa: N803
        torchVersionRequirement: str | None = None,  # noqa: N803
        torchvisionVersionRequirement: str | None = None,  # noqa: N803
    ) -> ModuleType | None:
        """The module torch; None where the user declined."""
        if askConfirmation and not slicer.util.confirmOkCancelDisplay("PyTorch will be downloaded and installed."):
            return None
        packages.install(f"torch{torchVersionRequirement or ''}")
        if not self.torchInstalled():
            raise ModuleNotFoundError("No module named 'torch'")
        return self._module()

    @staticmethod
    def _module() -> ModuleType:
        # Not the real one: what runs in Slicer's process never has to import it.
        return ModuleType("torch", "stand-in")


def load_requirements(path: str | Path) -> list[Requirement]:
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def pip_check(requirements: str | Requirement | list) -> bool:
    return all(_is_satisfied(requirement) for requirement in _requirements(requirements))


def pip_install(requirements: str | Requirement | list, **_options: object) -> None:
    packages.install(*(str(requirement) for requirement in _requirements(requirements)))


def pip_uninstall(requirements: str | Requirement | list, **_options: object) -> None:
    packages.uninstall(*(requirement.name for requirement in _requirements(requirements)))


def pip_ensure(
    requirements: str | Requirement | list,
    constraints: str | Path | None = None,
    prompt_install: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    **_options: object,
) -> None:
    """Install what is missing, after a question.

    Raises:
        RuntimeError: the user declined.
        subprocess.CalledProcessError: the installation failed.
    """
    missing = [requirement for requirement in _requirements(requirements) if not _is_satisfied(requirement)]
    if not missing or (skip_in_testing and slicer.app.testingEnabled()):
        return
    question = f"{len(missing)} Python packages need to be installed. Continue?"
    if prompt_install and not slicer.util.confirmOkCancelDisplay(question, f"{requester} - Install Python Packages"):
        raise RuntimeError("User declined package installation")
    packages.constraints = Path(constraints).read_text(encoding="utf-8").splitlines() if constraints else []
    pip_install(missing)


def make_packaging_module() -> ModuleType:
    """The module to install as `slicer.packaging`."""
    module = ModuleType("slicer.packaging", "stand-in")
    for function in (load_requirements, pip_check, pip_ensure, pip_install, pip_uninstall):
        setattr(module, function.__name__, function)
    module.Requirement = Requirement
    return module


def make_pytorch_module() -> ModuleType:
    """The module to install as `PyTorchUtils`."""
    module = ModuleType("PyTorchUtils", "stand-in")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    return module


def _requirements(requirements: str | Requirement | list) -> list[Requirement]:
    if isinstance(requirements, str):
        requirements = re.split(r"\s+(?=[A-Za-z])", requirements.strip())
    elif isinstance(requirements, Requirement):
        requirements = [requirements]
    return [Requirement(str(requirement)) for requirement in requirements]


def _is_satisfied(requirement: Requirement) -> bool:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)
