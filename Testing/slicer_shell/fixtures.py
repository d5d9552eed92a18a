"""Fixtures of the tests on the stand-in Slicer; Testing/conftest.py takes them in."""

import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

MUST_RUN = os.environ.get("HLFD_REQUIRE_SHELL") == "1"


def cannot_run(reason: str) -> None:
    """Skip, or fail where the environment variable HLFD_REQUIRE_SHELL says that the tests must run."""
    (pytest.fail if MUST_RUN else pytest.skip)(reason)


def require_shell() -> ModuleType:
    """The module `slicer` of the stand-in, started once a process; skips where it cannot be."""
    for package, name in (("slicer", "slicer-core"), ("PySide6", "PySide6-Essentials")):
        if find_spec(package) is None:
            cannot_run(f"{name} is not installed; pip install -e '.[test]' brings it")
    try:
        from slicer_shell.shell import start
    except ImportError as error:
        cannot_run(f"slicer-core or PySide6 cannot be loaded ({error}); see Testing/slicer_shell/README.md")
    return start()


class ModuleOnShell(pytest.Module):
    """A test file that imports Slicer's modules: the stand-in starts before it is imported."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        require_shell()
        return super().collect()


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """The test files test_shell_*.py and test_slicer_*.py need the stand-in."""
    if not module_path.name.startswith(("test_shell_", "test_slicer_")):
        return None
    return ModuleOnShell.from_parent(parent, path=module_path)


LIBRARIES = ("HLFDSegmentationLib", "HLFDTrainingLib")


@contextmanager
def same_libraries() -> Iterator[None]:
    """A test that reloads a module, as in Slicer, leaves the libraries to the next test as it found them.

    Else that test would hold classes of both, and an exception of one would not be an exception of the other.
    """
    before = _libraries()
    yield
    after = _libraries()
    if any(after.get(name) is not module for name, module in before.items()):
        for name in after:
            del sys.modules[name]
        sys.modules.update(before)


def _libraries() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] in LIBRARIES}


@pytest.fixture
def slicer_shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module `slicer` with a fresh scene. What slots and observers raise and unexpected dialogs fail the test."""
    slicer = require_shell()
    from slicer_shell import dialogs, shell, signals
    from slicer_shell.packaging_stand_ins import packages
    from slicer_shell.scene import clear_scene

    unexpected: list[str] = []
    real_answered = dialogs.answered

    def answered(text: str, dialog: object) -> object:
        # Kept here as well: code under test may catch the error that an unexpected dialog raises.
        if not dialogs.answers:
            unexpected.append(text)
        return real_answered(text, dialog)

    def observer_failed(kind: type, error: BaseException, trace: object) -> None:
        # VTK prints what an observer raises through this hook, and goes on.
        signals.slot_errors.append("".join(traceback.format_exception(kind, error, trace)))
        sys.__excepthook__(kind, error, trace)

    monkeypatch.setattr(dialogs, "answered", answered)
    monkeypatch.setattr(sys, "excepthook", observer_failed)
    signals.slot_errors.clear()
    dialogs.reset()
    packages.reset()
    clear_scene()
    with same_libraries(), packages.in_place():
        yield slicer
    # In the order of a user who closes the scene and then Slicer.
    clear_scene()
    shell.unload_modules()
    problems = [f"in a slot or an observer: {error}" for error in signals.slot_errors]
    problems += [f"nobody expected the dialog: {text}" for text in unexpected]
    problems += [f"no dialog came for the answer {answer!r}" for answer in dialogs.answers]
    if problems:
        pytest.fail("\n".join(problems))


@pytest.fixture
def slice_views(slicer_shell: ModuleType) -> ModuleType:
    """The module that draws slice views: `slice_views.render_slice_view("Red")`."""
    from slicer_shell import views

    if (reason := views.why_nothing_can_be_drawn()) is not None:
        cannot_run(reason)
    return views
