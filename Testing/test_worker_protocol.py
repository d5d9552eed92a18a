"""What Slicer and the worker say to each other survives the way there, and nothing else is taken for it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from HLFDSegmentationLib.child_process.worker_forecast import Forecast
from HLFDSegmentationLib.child_process.worker_protocol import (
    Cancelled,
    CancelRequest,
    Device,
    DevicesRequest,
    DevicesResult,
    Failed,
    Finished,
    Grid,
    LayerMap,
    Probability,
    Progress,
    ProtocolError,
    RawImage,
    Reading,
    Ready,
    ReportRequest,
    ReportResult,
    SegmentRequest,
    SegmentResult,
    event_line,
    parse_event,
    parse_request,
    request_line,
)
from HLFDSegmentationLib.measures import Lesion, SegmentMeasures
from HLFDSegmentationLib.phases import EXPLAINING, LOADING, MEASURING, SEGMENTING, STARTING, WRITING

DOCUMENTATION = Path(__file__).parents[1] / "docs" / "worker.md"

GRID = Grid((3, 4, 5), (0.7, 0.7, 2.5), (-120.5, 0.0, 31.25), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
# A line break, other scripts, and a file name that is no valid Unicode.
IMAGE = RawImage("/tmp/Ünïcode 患者\n\udcff/ct.raw", "int16", GRID)
MAP = LayerMap("liver tumor", "encoder1", IMAGE, False, 0.25, None, 3.5, None)
READING = Reading("liver tumor", "decoder3", 2, "on target", 'says "hello"\nand goes')
LESION = Lesion(
    number=1,
    volume_ml=2.5,
    mean_hu=61.5,
    sd_hu=14.25,
    longest_axial_diameter_mm=12.0,
    diameter_ends_mm=((1.0, 2.0, 3.0), (13.0, 2.0, 3.0)),
    center_mm=(1.0, 2.0, 3.0),
    slice_index=4,
    side="left",
)
MEASURES = SegmentMeasures(
    label="kidney tumor",
    volume_ml=9.0,
    volume_with_tumors_ml=None,
    mean_hu=None,
    sd_hu=None,
    lesions=[LESION],
    side_ml={"right": 4.0, "left": 5.0},
)

REQUESTS = [
    SegmentRequest(
        IMAGE,
        "/models/a",
        "cuda:0",
        0.3,
        True,
        False,
        "/tmp/job",
        False,
        (0, 2, 1, 3, 0, 1),
        IMAGE.grid,
        "The values are µ.",
        ("Scaled.",),
        ("/data/患者/1.dcm", "/data/2.dcm"),
    ),
    SegmentRequest(IMAGE, "/models/a", "auto", None, False, True, "/tmp/job", True, None, IMAGE.grid, None, (), ()),
    DevicesRequest(),
    ReportRequest(
        IMAGE,
        IMAGE,
        (MAP, MAP),
        "/models/a",
        "cpu",
        "CT 3",
        ("a note",),
        (),
        ("kidney",),
        (READING,),
        "/home/x/report.html",
    ),
    CancelRequest(),
]
EVENTS = [
    Ready(4711),
    Progress(3, SEGMENTING, 0.5, None),
    Progress(3, WRITING, 1.0, 0.25),
    Finished(
        3,
        SegmentResult(
            IMAGE,
            [MEASURES],
            [MAP],
            [Probability("liver", IMAGE)],
            ["Mirrored?"],
            ["ß"],
            None,
            "cpu",
            "abdomen",
        ),
    ),
    Finished(3, DevicesResult([Device("cpu", "CPU (2 threads)")])),
    Finished(3, ReportResult("/home/x/report.html")),
    Failed(3, "memory", "The memory does not suffice."),
    Cancelled(3),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_requests_arrive_as_they_were_sent(request_):
    line = request_line(7, request_)
    assert parse_request(line) == (7, request_)
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii()


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_arrive_as_they_were_sent(event):
    line = event_line(event)
    assert parse_event(line) == event
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii()


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_are_understood_while_the_module_is_reloaded(event, monkeypatch):
    monkeypatch.delitem(sys.modules, type(event).__module__)
    assert parse_event(event_line(event)) == event


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"\n", b"hello\n", b"{", b"[1]\n", b"\xff\xfe\n", b'"text"'),
        *(b"{}", b'{"job": "1"}', b'{"job": true}', b"[" * 100_000),
    ],
)
def test_other_lines_are_refused(line):
    for parse in (parse_request, parse_event):
        with pytest.raises(ProtocolError):
            parse(line)


def changed(line: bytes, change) -> bytes:
    data = json.loads(line)
    change(data)
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(request="format"),
        lambda data: data.update(request=["segment"]),
        lambda data: data["arguments"].pop("model"),
        lambda data: data["arguments"].update(surprise=1),
        lambda data: data["arguments"].update(model=5),
        lambda data: data["arguments"].update(attention="yes"),
        lambda data: data["arguments"].update(tumor_threshold="0.5"),
        lambda data: data["arguments"]["ct"].update(dtype="object"),
        lambda data: data["arguments"]["ct"]["grid"].update(shape=[1, 2]),
        lambda data: data["arguments"]["ct"]["grid"].update(shape=[1, 2, 3.5]),
        lambda data: data["arguments"]["ct"].update(grid=None),
        lambda data: data.update(arguments=[]),
    ],
)
def test_a_wrong_request_is_refused_and_its_job_known(change):
    with pytest.raises(ProtocolError) as error:
        parse_request(changed(request_line(7, REQUESTS[0]), change))
    assert error.value.job == 7


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(event="party"),
        lambda data: data.update(event=["progress"]),
        lambda data: data.update(event="result", request=["segment"]),
        lambda data: data.update(fraction="half"),
        lambda data: data.pop("phase"),
    ],
)
def test_a_wrong_event_is_refused(change):
    with pytest.raises(ProtocolError):
        parse_event(changed(event_line(EVENTS[1]), change))


def test_size_of_a_raw_file():
    assert IMAGE.size_bytes == 3 * 4 * 5 * 2


def test_the_documented_lines_are_lines_of_the_protocol():
    """And every request and event is documented."""
    lines = re.findall(r"^\{.*\}$", DOCUMENTATION.read_text(encoding="utf-8"), re.MULTILINE)
    requests = [parse_request(line.encode())[1] for line in lines if '"event"' not in line]
    events = [parse_event(line.encode()) for line in lines if '"event"' in line]
    assert {type(one) for one in requests} == {type(one) for one in REQUESTS}
    assert {type(one) for one in events} == {type(one) for one in EVENTS}
    results = {type(one.result) for one in events if isinstance(one, Finished)}
    assert results == {type(one.result) for one in EVENTS if isinstance(one, Finished)}


def test_the_documented_phases_are_those_of_the_worker():
    named = re.findall(r"`phase` \(([^)]*)\)", DOCUMENTATION.read_text(encoding="utf-8"))
    assert named == [
        ", ".join(f'"{phase}"' for phase in (STARTING, LOADING, SEGMENTING, EXPLAINING, MEASURING, WRITING))
    ]


@pytest.mark.parametrize("module", ["child_process.worker_protocol", "child_process.worker_client", "worker"])
def test_needs_nothing_that_is_not_in_python(module):
    """Slicer imports it before anything is installed, and the worker is there at once."""
    code = f"import HLFDSegmentationLib.{module}, sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "SimpleITK", "numpy", "scipy", "monai"} & set(loaded)


# The time that is left


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def run_through(forecast, clock, seconds, steps=10):
    """Goes through phases that take so long; gives what was told, and the seconds that were really left."""
    forecast.begin(list(seconds))
    end = clock.now + sum(seconds.values())
    told = []
    for phase, duration in seconds.items():
        begin = clock.now
        for step in range(steps + 1):
            clock.now = begin + duration * step / steps
            told.append((*forecast.update(phase, step / steps), end - clock.now))
    forecast.end()
    return told


def test_the_second_forecast_has_learned_from_the_first():
    clock = Clock()
    forecast = Forecast(clock)
    seconds = {LOADING: 1.0, SEGMENTING: 20.0, EXPLAINING: 60.0, MEASURING: 2.0, WRITING: 1.0}
    for told in (run_through(forecast, clock, seconds), run_through(forecast, clock, seconds)):
        fractions = [fraction for fraction, _, _ in told]
        assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] == pytest.approx(1)
        assert told[0][1] is None
    errors = [abs(left - really) for _, left, really in told if left is not None]
    assert errors and max(errors) < 1e-6
    # Twice as many slices take twice as long; and attention need not be asked for.
    told = run_through(forecast, clock, {SEGMENTING: 40.0, MEASURING: 4.0, WRITING: 2.0})
    assert max(abs(left - really) for _, left, really in told if left is not None) < 1e-6


def test_progress_never_falls_when_a_batch_is_done_again():
    clock = Clock()
    forecast = Forecast(clock)
    forecast.begin([SEGMENTING])
    told = []
    for share in (0.2, 0.5, 0.3, 0.6):
        clock.now += 1
        told.append(forecast.update(SEGMENTING, share)[0])
    assert told == sorted(told)
