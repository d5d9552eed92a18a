"""Fixtures of the tests on the stand-in Slicer; Testing/conftest.py takes them in."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from types import ModuleType

import pytest

MUST_RUN = os.environ.get("HLFD_REQUIRE_SHELL") == "1"


def cannot_run(reason: str) -> None:
    """Skip, or fail where the environment variable HLFD_REQUIRE_SHELL says that the tests must run."""
    (pytest.fail if MUST_RUN else pytest.skip)(reason)


@pytest.fixture(scope="session")
def started_shell() -> ModuleType:
    """The stand-in Slicer, started once."""
    for package, name in (("slicer", "slicer-core"), ("PySide6", "PySide6-Essentials")):
        if find_spec(package) is None:
            cannot_run(f"{name} is not installed; pip install 'hlfd[test]' brings it")
    try:
        from slicer_shell.shell import start
    except ImportError as error:
        cannot_run(f"slicer-core or PySide6 cannot be loaded ({error}); see Testing/slicer_shell/README.md")
    return start()


@pytest.fixture
def slicer_shell(started_shell: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module `slicer` with a fresh scene. An exception in a slot or an unexpected dialog fails the test."""
    from slicer_shell import dialogs, shell, signals
    from slicer_shell.packaging_stand_ins import packages

    unexpected: list[str] = []
    real_answered = dialogs.answered

    def answered(text: str, dialog: object) -> object:
        # Kept here as well: code under test may catch the error that an unexpected dialog raises.
        if not dialogs.answers:
            unexpected.append(text)
        return real_answered(text, dialog)

    monkeypatch.setattr(dialogs, "answered", answered)
    signals.slot_errors.clear()
    dialogs.reset()
    packages.reset()
    shell.clear_scene()
    with ExitStack() as stack:
        stack.enter_context(packages.in_place())
        yield started_shell
    shell.unload_modules()
    shell.clear_scene()
    problems = [f"in a slot: {error}" for error in signals.slot_errors]
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
