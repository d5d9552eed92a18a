"""The folders in which models are found by name: those that ship with HLFD, and the user's own."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .command_text import quoted
from .errors import OutputError, PackageError
from .model_files.package_files import copy_files, is_package_name, naming
from .model_package import ModelPackage, read_package
from .output.safe_files import make_aside, replace_waiting
from .tasks import TASKS, Task, load_task

DEFAULT_TASK = "abdomen"

LEFT_SECONDS = 86_400
"""No import takes so long."""

LIBRARY = Path(__file__).resolve().parent


@dataclass(frozen=True)
class StoredPackage:
    """A folder of a store: a usable package, or the sentence why it is not.

    Attributes:
        name: the folder's name, which is the package's.
        path: the folder.
        imported: whether it can be removed: what came with HLFD stays.
        package: none where there is a problem.
        problem: none where there is a package.
    """

    name: str
    path: Path
    imported: bool
    package: ModelPackage | None
    problem: str | None


def shipped_folder() -> Path:
    """Where the packages lie that come with HLFD: inside the library in a wheel, beside it in Slicer and a checkout."""
    in_wheel = LIBRARY / "Models"
    return in_wheel if in_wheel.is_dir() else LIBRARY.parent / "Resources" / "Models"


def user_folder() -> Path:
    """Where imported packages lie: $HLFD_MODELS, or else the platform's folder for a user's data.

    Raises:
        OutputError: this user has no home folder, as a service at times.
    """
    try:
        if chosen := os.environ.get("HLFD_MODELS"):
            return Path(chosen).expanduser()
        home = Path.home()
    except RuntimeError as error:
        raise OutputError(
            "There is no folder for models, as this user has no home folder. Set the environment variable HLFD_MODELS "
            "to a folder."
        ) from error
    if sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    elif sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        data = home / ".local" / "share"
    return data / "hlfd" / "models"


def list_packages() -> list[StoredPackage]:
    """All packages, the shipped ones first, each group by name.

    A damaged one is listed with its problem; so is a user's folder that cannot be read.
    """
    shipped, *imported = model_folders()
    found = [_look_at(path, imported=False) for path in _folders(shipped)]
    for store in imported:
        try:
            found += [_look_at(path, imported=True) for path in _folders(store)]
        except OSError as error:
            problem = (
                f"Your models in {store} cannot be read: {error.strerror or error}. Ask who looks after this computer, "
                "or set the environment variable HLFD_MODELS to a folder that you may read."
            )
            found.append(StoredPackage(store.name, store, False, None, problem))
    return found


def title_among(package: ModelPackage, stored: Sequence[StoredPackage]) -> str:
    """A package's title, and its name where several of those stored bear this title."""
    same = [one for one in stored if one.package and one.package.title == package.title]
    return package.title if len(same) < 2 else f"{package.title} ({package.name})"


def find_task(name_or_path: str | Path) -> Task:
    """A task by its name or its file, see `load_task`, or the one that an installed model was trained for.

    Raises:
        TaskError: there is no such task.
        PackageError: the model of this name is damaged.
    """
    name = str(name_or_path)
    return find_package(name).task if name not in TASKS and is_installed(name) else load_task(name_or_path)


def is_installed(name: str) -> bool:
    """Whether there is a model of this name, usable or not."""
    return bool(_folders_named(name))


def find_package(name_or_path: str | Path | None = None) -> ModelPackage:
    """The package of this name, in this folder, or, for None, the default one.

    A name is looked for before a folder; write a folder of the same name as `./NAME`.

    Raises:
        PackageError: there is none, it is damaged, or two have this name.
    """
    if name_or_path is None:
        return _default_package()
    if not str(name_or_path):  # It would be the current folder.
        raise PackageError("No model is named. It may have been removed meanwhile; choose one.")
    if found := _folders_named(str(name_or_path)):
        return _read_stored(found[0])
    path = Path(name_or_path)
    _refuse_training(path)
    if path.is_dir():
        return read_package(path)
    if path.is_file():
        raise PackageError(
            f"{path} is a file. Run `hlfd models import {quoted(path)}` once, then use the model by its name."
        )
    installed = list_packages()
    for stored in installed:
        if stored.problem and stored.path in model_folders():
            raise PackageError(stored.problem)
    names = ", ".join(stored.name for stored in installed) or "none yet"
    raise PackageError(f"There is no model '{name_or_path}'. These are installed: {names}.")


def import_package(source: str | Path) -> ModelPackage:
    """Checks a package, zip or folder, and copies it into the user's folder.

    The copy is made in a private folder, compared with its manifest and loaded before it gets its name. Nothing
    stays behind of a package that is refused.

    Raises:
        PackageError: the package is unsafe or damaged, or there is one of this name.
        OutputError: the user's folder cannot be written.
    """
    source = Path(os.path.abspath(source))  # also `..` has a name then
    _refuse_training(source)
    store = user_folder()
    with _workshop(store) as workshop:
        # Named as the source, so that errors name the file that the user knows.
        copy = workshop / source.name
        with naming(source.name):
            copy_files(source, copy)
        package = read_package(copy)
        package.load_network()
        _refuse_second(package.name)
        try:
            replace_waiting(copy, store / package.name)
        except OSError:
            _refuse_second(package.name)  # Another import was first.
            raise
    return read_package(store / package.name)


def _refuse_second(name: str) -> None:
    """Raises PackageError where a model of this name is installed."""
    if existing := _folders_named(name):
        raise PackageError(
            f"A model named '{name}' is installed already ({existing[0]}). Remove it first, in HLFD Segmentation or "
            f"with `hlfd models remove {name}`; a model that ships with HLFD stays, so package yours under another "
            "name."
        )


def _refuse_training(path: Path) -> None:
    """Raises PackageError with the way to a model where a path is what a training left."""
    run = path
    if path.is_file() and path.suffix == ".pt":
        what, run = "has weights alone, which are no model yet", Path("RUN")
    elif (path / "plan.json").is_file():
        what = "is the folder of a training run"
    elif (path / "comparison.json").is_file():
        what, run = "is the folder of a comparison, with a training run for each row", path / "rows" / "NAME"
    else:
        return
    raise PackageError(
        f"{path} {what}. Make a model of the run's student with `hlfd package {quoted(run)} -o NAME.zip`, then run "
        "`hlfd models import NAME.zip`; or in 3D Slicer with Install into HLFD Segmentation, in HLFD Training."
    )


def remove_package(name: str) -> None:
    """Deletes an imported package.

    Raises:
        PackageError: there is none of this name, or it ships with HLFD.
        OutputError: it cannot be deleted.
    """
    store = user_folder()
    found = _folders_named(name)
    if store in model_folders()[1:] and store / name in found:
        with _workshop(store) as workshop:
            replace_waiting(store / name, workshop / name)
    elif found:
        raise PackageError(f"The model '{name}' ships with HLFD and cannot be removed; only imported ones can.")
    else:
        raise PackageError(f"There is no model '{name}' to remove. `hlfd models list` shows the installed ones.")


def verify_package(name_or_path: str | Path) -> ModelPackage:
    """Checks a package and loads its network: an installed one, a folder, or a zip that is not imported yet.

    Raises:
        PackageError: what is wrong with it.
    """
    path = Path(name_or_path)
    if _folders_named(str(name_or_path)) or not path.is_file():
        package = find_package(name_or_path)
        package.load_network()
        return package
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with naming(path.name):
            copy_files(path, copy)
        package = read_package(copy)
        package.load_network()
    return replace(package, path=path)


def _default_package() -> ModelPackage:
    shipped = [_look_at(path, imported=False) for path in _folders(shipped_folder())]
    found = [stored.package for stored in shipped if stored.package and stored.package.task.name == DEFAULT_TASK]
    if len(found) > 1:
        names = ", ".join(package.name for package in found)
        raise PackageError(
            f"This installation has several default models ({names}), as where an update left one of an older HLFD. "
            "Install HLFD again from a fresh folder, or choose one of them."
        )
    if found:
        return found[0]
    for stored in shipped:
        if stored.problem:
            raise PackageError(stored.problem)
    raise PackageError("This installation has no default model. Install HLFD again, or choose a model.")


def model_folders() -> list[Path]:
    """The folders in which packages lie: the shipped ones, and the user's, where there is a place for them."""
    shipped = shipped_folder()
    with suppress(OutputError):
        own = user_folder()
        # Whoever names the shipped folder as their own must not be told to remove what ships.
        return [shipped] if own.resolve() == shipped.resolve() else [shipped, own]
    return [shipped]


def _folders(store: Path) -> list[Path]:
    # A leading dot is an import that is going on or was killed; a leading underscore is Python's.
    if not store.exists():
        return []
    return sorted(path for path in store.iterdir() if path.is_dir() and path.name[0] not in "._")


def _folders_named(name: str) -> list[Path]:
    if not is_package_name(name):
        return []
    return [path for store in model_folders() if _is_folder(path := store / name)]


def _is_folder(path: Path) -> bool:
    """Nothing is there where nobody may look: what ships can be used all the same."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _look_at(path: Path, *, imported: bool) -> StoredPackage:
    try:
        return StoredPackage(path.name, path, imported, _read_stored(path), None)
    except PackageError as error:
        return StoredPackage(path.name, path, imported, None, str(error))


def _read_stored(path: Path) -> ModelPackage:
    if len(_folders_named(path.name)) > 1:
        raise PackageError(
            f"Two models are named '{path.name}': an imported one, and one that ships with HLFD. Remove the imported "
            f"one, in HLFD Segmentation or with `hlfd models remove {path.name}`."
        )
    package = read_package(path)
    if package.name != path.name:
        raise PackageError(f"The folder {path} holds the model '{package.name}'. Give the folder this name.")
    return package


def _remove_left(store: Path) -> None:
    """Removes what imports that were killed have left; one that is going on is younger."""
    for folder in store.glob(".hlfd.*.part"):
        with suppress(OSError):  # Another one removes it just now.
            if time.time() - folder.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _workshop(store: Path) -> Iterator[Path]:
    """A private folder inside the store, so that what was made in it takes its place in one step."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        _remove_left(store)
        folder = make_aside(store)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"The models folder {store} could not be changed: {reason}. Check that its disk has space and that you "
            "may write there."
        ) from error
