"""What Slicer and the segmentation worker say to each other: one JSON object a line.

Voxels never travel as text: they lie in raw files in a private folder (little endian, C order [z, y, x]), which both
sides map into memory. docs/worker.md shows every line. Standard library only, because Slicer imports this before
anything else is installed.
"""

# Annotations are types here, and not text: they tell how a line is read.

import json
import types
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from ..errors import HLFDError
from ..grids import Grid
from ..measures import SegmentMeasures
from ..readings import Reading

Made = TypeVar("Made")

VoxelType = Literal["uint8", "int16", "float32"]

VOXEL_BYTES: dict[VoxelType, int] = {"uint8": 1, "int16": 2, "float32": 4}
"""The voxel types of raw files, and the bytes that a voxel takes."""


OTHER_VERSION = (
    "HLFD was changed while 3D Slicer was open: it no longer understands its segmentation process. Restart 3D Slicer, "
    "then try again."
)
"""Told of a job whose request or answer cannot be read: both sides write what they read."""


class ProtocolError(HLFDError):
    """A line is not what the protocol says.

    Attributes:
        job: number of the job that the line was about; none where even that could not be read.
    """

    def __init__(self, message: str, job: int | None = None) -> None:
        super().__init__(message)
        self.job = job


# What is told


@dataclass(frozen=True)
class RawImage:
    """An image whose voxels lie in a raw file: little endian, C order [z, y, x], nothing else in the file."""

    file: str
    dtype: VoxelType
    grid: Grid

    @property
    def size_bytes(self) -> int:
        """How long the file must be."""
        depth, height, width = self.grid.shape
        return depth * height * width * VOXEL_BYTES[self.dtype]


@dataclass(frozen=True)
class LayerMap:
    """One layer's attention for one label.

    Attributes:
        label: name of the label.
        layer: name of the layer.
        image: float32 on the layer's own grid, of the slices that hold the label and one more on either side; signed,
            its largest absolute value over the volume is 1. The positive map is `max(0, map)`.
        empty: the layer has no positive attention anywhere.
        focus_segment: share of the positive attention inside the segment, 0 to 1; none where it is not defined, as
            are the three below.
        focus_organ: share inside the organ with its tumors.
        segment_ratio: `focus_segment` as a multiple of what attention spread evenly over the body of each slice
            would give.
        organ_ratio: the same of `focus_organ`.
    """

    label: str
    layer: str
    image: RawImage
    empty: bool
    focus_segment: float | None
    focus_organ: float | None
    segment_ratio: float | None
    organ_ratio: float | None


@dataclass(frozen=True)
class Probability:
    """The probability of one label at each voxel of the CT, before pieces that lie apart were left out."""

    label: str
    image: RawImage


@dataclass(frozen=True)
class Device:
    """Where the network can run.

    Attributes:
        name: for `SegmentRequest.device`, for example "cuda:0".
        title: what a user reads, for example "NVIDIA RTX A5000 (24 GB)".
    """

    name: str
    title: str


# Requests


@dataclass(frozen=True)
class SegmentRequest:
    """Segment a CT.

    Attributes:
        ct: the CT in HU.
        model: folder of the model package.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        tumor_threshold: a voxel is tumor from this probability on; none: where tumor is the most likely label.
        attention: also make the attention maps.
        probabilities: also make the probability of each label.
        folder: an existing private folder; the results are written there.
        allow_not_hu: segment an image that does not look like CT in HU. Otherwise it fails with kind "not_hu".
        region: the first and last voxel along x, y and z between which the CT is to be labeled; none: all of it. The
            network looks at the whole of its slices all the same.
        whole: where the CT lies that these slices are of; its own grid where they are all of it.
        whole_not_hu: where these are some slices of a CT, why that CT does not look like HU; none where it does. Its
            slices need not tell: they may show nothing that lies at a known value.
        whole_cautions: in that case, what `offset_cautions` tells of that CT.
        dicom_files: that the CT was loaded from, if they are known; they tell what its voxels do not.
    """

    ct: RawImage
    model: str
    device: str
    tumor_threshold: float | None
    attention: bool
    probabilities: bool
    folder: str
    allow_not_hu: bool
    region: tuple[int, int, int, int, int, int] | None
    whole: Grid
    whole_not_hu: str | None
    whole_cautions: tuple[str, ...]
    dicom_files: tuple[str, ...]


@dataclass(frozen=True)
class DevicesRequest:
    """Ask where the network can run."""


@dataclass(frozen=True)
class ReportRequest:
    """Write a self-contained HTML report.

    Attributes:
        ct: the CT in HU.
        labels: uint8 on the CT's grid. They are measured again, so that the report tells what it shows.
        maps: the attention maps; empty for a report without attention.
        model: folder of the model package that segmented.
        device: where it ran.
        title: name of the CT in the report.
        notes: the result's notes.
        warnings: what the reader must not miss, for example that the image is not CT in HU.
        deleted: labels whose segments were found and deleted: nothing is told of them.
        readings: what a reader made of the maps.
        destination: the HTML file.
    """

    ct: RawImage
    labels: RawImage
    maps: tuple[LayerMap, ...]
    model: str
    device: str
    title: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    deleted: tuple[str, ...]
    readings: tuple[Reading, ...]
    destination: str


@dataclass(frozen=True)
class CancelRequest:
    """Stop the job of the same number."""


Request = SegmentRequest | DevicesRequest | ReportRequest | CancelRequest

REQUESTS: dict[str, type] = {
    "segment": SegmentRequest,
    "devices": DevicesRequest,
    "report": ReportRequest,
    "cancel": CancelRequest,
}


# Results


@dataclass(frozen=True)
class SegmentResult:
    """What was segmented.

    Attributes:
        labels: uint8 on the CT's grid.
        measures: of each label of the model, found or not; centers are in LPS.
        maps: for each label found and each layer; empty unless asked for.
        probabilities: of each label; empty unless asked for.
        cautions: sentences that a reader must not miss, see `Segmentation`.
        notes: sentences about how the result came about.
        not_hu: why the image does not look like CT in HU; none where it does.
        device: where the network ran to the end.
        model_name: name of the model package.
    """

    labels: RawImage
    measures: list[SegmentMeasures]
    maps: list[LayerMap]
    probabilities: list[Probability]
    cautions: list[str]
    notes: list[str]
    not_hu: str | None
    device: str
    model_name: str


@dataclass(frozen=True)
class DevicesResult:
    """Where the network can run, the fastest first."""

    devices: list[Device]


@dataclass(frozen=True)
class ReportResult:
    """The report that was written."""

    file: str


Answer = SegmentResult | DevicesResult | ReportResult

ANSWERS: dict[str, type] = {
    "segment": SegmentResult,
    "devices": DevicesResult,
    "report": ReportResult,
}


# Events

FailureKind = Literal["input", "not_hu", "model", "output", "memory", "missing", "start", "died", "unexpected"]
"""Why a job did not come to its end; docs/worker.md tells what each means."""


@dataclass(frozen=True)
class Ready:
    """The worker takes requests.

    Attributes:
        pid: the worker's own process, which need not be the one that was started.
    """

    pid: int


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        job: its number.
        phase: one of the worker's, see `phases`.
        fraction: share of the whole job that is done, 0 to 1; it never falls.
        seconds_left: estimated; none while there is nothing to estimate from.
    """

    job: int
    phase: str
    fraction: float
    seconds_left: float | None


@dataclass(frozen=True)
class Finished:
    """A job's result."""

    job: int
    result: Answer


@dataclass(frozen=True)
class Failed:
    """A job that did not come to its end.

    Attributes:
        job: its number.
        kind: why it did not.
        message: sentences for the user: what happened and what to do next.
    """

    job: int
    kind: FailureKind
    message: str


@dataclass(frozen=True)
class Cancelled:
    """A job that was stopped because that was asked for."""

    job: int


Event = Progress | Finished | Failed | Cancelled
"""What is told of a job. After anything but `Progress` nothing more is told of it."""


# Lines


def request_line(job: int, request: Request) -> bytes:
    """The line that asks for a job."""
    name = next(name for name, kind in REQUESTS.items() if isinstance(request, kind))
    return _line({"job": job, "request": name, "arguments": asdict(request)})


def parse_request(line: bytes) -> tuple[int, Request]:
    """The job's number and what is asked for. Raises ProtocolError."""
    data = _parse(line)
    job = _number(data)
    kind = REQUESTS.get(str(data.get("request")))
    if kind is None:
        raise ProtocolError(f"There is no request '{data.get('request')}'; there are {', '.join(REQUESTS)}.", job)
    return job, _made(kind, data.get("arguments"), job)


def event_line(event: Event | Ready) -> bytes:
    """The line that tells an event."""
    match event:
        case Ready():
            told = {"event": "ready", "pid": event.pid}
        case Progress():
            told = {"event": "progress", **asdict(event)}
        case Finished():
            name = next(name for name, kind in ANSWERS.items() if isinstance(event.result, kind))
            told = {"event": "result", "job": event.job, "request": name, "result": asdict(event.result)}
        case Failed():
            told = {"event": "error", **asdict(event)}
        case Cancelled():
            told = {"event": "cancelled", "job": event.job}
    return _line(told)


def parse_event(line: bytes) -> Event | Ready:
    """The event that a line tells. Raises ProtocolError."""
    data = _parse(line)
    name = str(data.pop("event", None))
    if name == "ready":
        return _made(Ready, data, None)
    job = _number(data)
    if name == "result":
        kind = ANSWERS.get(str(data.get("request")))
        if kind is None:
            raise ProtocolError(f"There is no result of '{data.get('request')}'.", job)
        return Finished(job, _made(kind, data.get("result"), job))
    kinds = {"progress": Progress, "error": Failed, "cancelled": Cancelled}
    if name not in kinds:
        raise ProtocolError(f"There is no event '{name}'.", job)
    return _made(kinds[name], data, job)


def _line(data: dict[str, Any]) -> bytes:
    # Plain ASCII, so that neither a locale nor a file name that is no valid Unicode can break a line.
    return json.dumps(data, ensure_ascii=True).encode("ascii") + b"\n"


def _parse(line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("A line is not JSON.") from error
    if not isinstance(data, dict):
        raise ProtocolError("A line is not a JSON object.")
    return data


def _number(data: dict[str, Any]) -> int:
    job = data.get("job")
    if not isinstance(job, int) or isinstance(job, bool):
        raise ProtocolError("A line names no job.")
    return job


def _made(kind: type[Made], data: Any, job: int | None) -> Made:
    try:
        return _read(kind, data)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"A line does not hold a {kind.__name__}: {error}.", job) from error


def _read(kind: Any, value: Any) -> Any:
    """A value as JSON has it, as the type that is declared; raises TypeError or ValueError where it is another."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _read_dataclass(kind, value)
    if origin is Literal:
        if value not in inner:
            raise ValueError(f"{value!r} is none of {', '.join(map(repr, inner))}")
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _read(inner[0], value)
    if origin is dict:
        return {_read(inner[0], key): _read(inner[1], item) for key, item in _of(dict, value).items()}
    if origin in (list, tuple):
        items = _of(list, value)
        if origin is list or inner[-1] is Ellipsis:
            return origin(_read(inner[0], item) for item in items)
        return tuple(_read(one, item) for one, item in zip(inner, items, strict=True))
    if kind is float:
        return float(_of((int, float), value))
    return _of(kind, value)


def _read_dataclass(kind: Any, value: Any) -> Any:
    told = _of(dict, value)
    declared = {one.name: one.type for one in fields(kind)}
    if odd := sorted(map(str, told.keys() ^ declared.keys())):
        raise ValueError(f"'{odd[0]}' is missing or unknown")
    return kind(**{name: _read(one, told[name]) for name, one in declared.items()})


def _of(kind: type | tuple[type, ...], value: Any) -> Any:
    # True is an int in Python, and no number here.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{value!r:.40} has the wrong type")
    return value
