"""A model as a package: weights, task, figures, license and card in the layout of a MONAI Bundle.

docs/model_packages.md has the layout. Slicer lists packages before torch is installed: only the weights need torch, and
they are in `model_weights`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import OutputError, PackageError, TaskError
from .model_files.model_figures import DICE, PATIENTS, SLICES
from .model_files.package_files import (
    CARD,
    GET_AGAIN,
    LICENSE,
    METADATA,
    SCHEMA_VERSION,
    WEIGHTS,
    changed,
    check_files,
    check_schema,
    is_package_name,
    naming,
    read_json,
    sha256,
    write_files,
    zip_files,
)
from .model_files.package_metadata import metadata_bytes
from .networks import NETWORKS, build_network
from .output.safe_files import replace_waiting, replacing
from .tasks import Task, is_line

if TYPE_CHECKING:
    from .networks.network import SegmentationNetwork

Kind = TypeVar("Kind")

LARGEST_FIGURE = 1e9
LONGEST_NAME = 64
"""What errors show of a stranger's text."""

LONGEST_LINE = 1000
"""Of a student that goes on again and again, all methods are told."""


@dataclass(frozen=True)
class ModelPackage:
    """A model package whose files agree with its manifest.

    Attributes:
        path: the folder it lies in.
        name: identifier: lowercase letters, digits, - and _.
        title: what a user reads.
        task: what the network segments and what it is given to see.
        network_name: one of `networks.NETWORKS`.
        layers: names of the network's layers.
        license: short name of the model's license, for example "CC-BY-4.0".
        license_text: the license itself.
        training_data: each data set as {"name", "source", "license": str, "patients": int}.
        metrics: measured figures by label name, for example {"liver": {"dice": 0.95, "patients": 15}}; None where
            undefined. See `model_figures`.
        method: by which it learned, for example "hlfd"; all of them in order where there were several.
        seeds: the random seeds of its training, by what they were used for.
        card: the model card, Markdown.
        weights_sha256: SHA-256 of the weights; it tells two versions of a model apart.
    """

    path: Path
    name: str
    title: str
    task: Task
    network_name: str
    layers: list[str]
    license: str
    license_text: str
    training_data: list[dict[str, Any]]
    metrics: dict[str, dict[str, float | None]]
    method: str
    seeds: dict[str, int]
    card: str
    weights_sha256: str

    def load_network(self) -> SegmentationNetwork:
        """The network with its weights in float32 on the CPU, in evaluation mode.

        Raises:
            PackageError: the weights have changed since the package was read, are not plain tensors, or do not fit
                the network.
        """
        from .model_files.model_weights import load_weights

        with naming(self.path.name):
            content = (self.path / WEIGHTS).read_bytes()
            if sha256(content) != self.weights_sha256:
                raise changed(WEIGHTS)
            network = build_network(self.network_name, self.task.num_classes)
            if list(network.layers) != self.layers:
                raise PackageError(f"it names other layers than the network {self.network_name} has. {GET_AGAIN}")
            load_weights(content, network)
            return network.eval()


def read_package(folder: Path | str) -> ModelPackage:
    """The package in a folder, after comparing every file with the manifest. The weights are not loaded yet.

    Raises:
        PackageError: something is missing, changed, unknown or wrong.
    """
    folder = Path(folder)
    with naming(folder.name or str(folder)):
        if not folder.is_dir():
            raise PackageError("there is no such folder. Check the path.")
        hashes = check_files(folder)
        about = _entry(read_json(folder / METADATA), "hlfd", dict)
        check_schema(about.get("schema_version"))
        task = _task(_entry(about, "task", dict))
        return ModelPackage(
            path=folder,
            name=_name(_entry(about, "name", str)),
            title=_line(about, "title"),
            task=task,
            network_name=_network_name(_entry(about, "network", str)),
            layers=_entry(about, "layers", list),
            license=_line({"license": " ".join(_entry(about, "license", str).split())}, "license"),
            license_text=_text(folder / LICENSE),
            training_data=_training_data(_entry(about, "training_data", list)),
            metrics=_metrics(_entry(about, "metrics", dict), task),
            method=_line(about, "method"),
            seeds=_entry(about, "seeds", dict),
            card=_text(folder / CARD),
            weights_sha256=hashes[WEIGHTS],
        )


def write_package(
    destination: Path | str,
    *,
    network: SegmentationNetwork,
    network_name: str,
    task: Task,
    name: str,
    title: str,
    license: str,
    license_text: str | None = None,
    training_data: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Mapping[str, float | None]],
    card: str,
    method: str,
    seeds: Mapping[str, int],
    authors: str = "not stated",
) -> Path:
    """Writes a package, reads it back and loads it, and only then puts it in its place.

    The same arguments and package versions give the same bytes.

    Args:
        destination: a new folder, or a new file that ends in .zip.
        network: the trained network; its weights are stored as 16-bit floating point numbers.
        license_text: text of the license; its short name again where none is given.
        authors: who made the model.
        others: as in `ModelPackage`.

    Raises:
        OutputError: the destination exists already or cannot be written.
        PackageError: a weight does not fit into 16 bits, or the arguments do not make a package that can be read.
    """
    from .model_files.model_weights import bytes_from_weights

    destination = Path(destination)
    if destination.exists():
        raise OutputError(f"{destination} is there already. Choose another name, or delete it first.")
    with naming(name):
        _name(name)
        about = {
            "schema_version": SCHEMA_VERSION,
            "name": name,
            "title": title,
            "task": task.to_dict(),
            "network": network_name,
            "layers": list(network.layers),
            "license": license,
            "training_data": [dict(data) for data in training_data],
            "metrics": {label: dict(figures) for label, figures in metrics.items()},
            "method": method,
            "seeds": dict(seeds),
        }
        contents = {
            METADATA: metadata_bytes(about, task, authors),
            WEIGHTS: bytes_from_weights(network),
            CARD: card.encode(),
            LICENSE: (license_text or f"{license}\n").encode(),
        }
    return _write_checked(destination, name, contents)


def _write_checked(destination: Path, name: str, contents: dict[str, bytes]) -> Path:
    with replacing(destination) as part:
        folder = part.parent / f"{part.name}.files" / name
        write_files(folder, contents)
        read_package(folder).load_network()
        if destination.suffix.lower() == ".zip":
            zip_files(folder, part)
        else:
            replace_waiting(folder, part)
    return destination


def _entry(data: dict[str, Any], key: str, kind: type[Kind]) -> Kind:
    value = data.get(key)
    if not isinstance(value, kind):
        raise PackageError(f"'{key}' in {METADATA} is missing or wrong. {GET_AGAIN}")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PackageError(f"{path.name} is not UTF-8 text. {GET_AGAIN}") from error


def _name(name: str) -> str:
    if not is_package_name(name):
        raise PackageError(
            "its name must be lowercase letters, digits, - and _, at most 64 of them, begin with a letter or digit, "
            "and be none that Windows keeps for devices, such as con or nul."
        )
    return name


def _network_name(name: str) -> str:
    if name not in NETWORKS:
        raise PackageError(
            f"it needs the network {name[:LONGEST_NAME]!r}, and this HLFD has {', '.join(NETWORKS)}. Update HLFD or "
            "use another model."
        )
    return name


def _task(data: dict[str, Any]) -> Task:
    try:
        return Task.from_dict(data)
    except TaskError as error:
        raise PackageError(f"its task is wrong. {error}") from error


def _line(about: dict[str, Any], entry: str) -> str:
    """What a user reads in a terminal or a panel, which other characters could take over."""
    text = _entry(about, entry, str)
    if not text.strip() or not is_line(text) or len(text) > LONGEST_LINE:
        raise PackageError(
            f"its {entry} must be one line of text, of at most {LONGEST_LINE} characters that can be printed."
        )
    return text


def _training_data(data: list[Any]) -> list[dict[str, Any]]:
    kinds = {"name": str, "source": str, "license": str, "patients": int}
    for item in data:
        if not isinstance(item, dict) or not all(isinstance(item.get(key), kind) for key, kind in kinds.items()):
            raise PackageError("each of its training data must have a name, source, license and number of patients.")
        for key in ("name", "source", "license"):
            _line(item, key)
    return data


def _metrics(metrics: dict[str, Any], task: Task) -> dict[str, dict[str, float | None]]:
    labels = {label.name for label in task.labels}
    for label, figures in metrics.items():
        if label not in labels:
            raise PackageError(f"it has figures for '{label}', which is none of its labels ({', '.join(labels)}).")
        if not isinstance(figures, dict) or not all(map(_is_figure, figures.values())):
            raise PackageError(f"its figures for '{label}' must be numbers.")
        for name, value in figures.items():
            if value is not None and not _is_possible(name, value):
                raise PackageError(f"its figures for '{label}' hold a {name!r} of {value}, which cannot be.")
    return metrics


def _is_figure(value: Any) -> bool:
    """JSON knows whole numbers of any length, which no text could be made of."""
    return value is None or (type(value) in (float, int) and abs(value) <= LARGEST_FIGURE)


def _is_possible(name: str, value: float) -> bool:
    """A Dice in percent would pass for a good one, and silence the warnings of a weak model."""
    if DICE in name:
        return 0 <= value <= 1
    counts = name.endswith((PATIENTS, SLICES))
    return not counts or (isinstance(value, int) and value >= 0)
