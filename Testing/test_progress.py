"""What a person at a terminal, and in the log of a run, reads of a training."""

from __future__ import annotations

import argparse
import errno
import io
import json

import pytest
from HLFDTrainingLib.commands import training
from HLFDTrainingLib.progress import ProgressBar, TrainingProgress, json_lines
from HLFDTrainingLib.runs.event_sentences import readable_log

EPOCH = {"event": "epoch", "stage": "student", "epoch": 3, "epochs": 9, "terms": {"segmentation": 0.2}, "seconds": 4.0}
FINISHED = {
    "event": "finished",
    "student": "mobilenetv2-unet",
    "method": "hlfd",
    "chosen_by": "mean validation Dice over labels and patients",
    "best_epoch": 7,
    "validation_dice": {"liver": 0.91234, "liver tumor": None},
    "criterion": 0.9,
}
CHOSEN = (
    "Finished. The student mobilenetv2-unet (method hlfd) is that of epoch 7, chosen by the mean validation Dice over "
    "labels and patients"
)


COMPUTED = {"device": "cuda:0", "device_title": "NVIDIA L4 (cuda:0)", "precision": "bfloat16", "unusable": None}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "measuring", "stage": "teacher"}, "measuring the teacher ..."),
        (
            {
                "event": "plan",
                "stages": [{"stage": "head", "epochs": 2, "steps": 5}, {"stage": "student", "epochs": 9}],
                **COMPUTED,
            },
            "epochs: head 2, student 9; on NVIDIA L4 (cuda:0), in bfloat16",
        ),
        (
            {**EPOCH, "dice": {"liver": 0.91234, "liver tumor": None}},
            "student: epoch 3 of 9, loss 0.2000, validation Dice liver 0.912",
        ),
        (
            {**EPOCH, "dice": {"liver": None}},
            "student: epoch 3 of 9, loss 0.2000, validation Dice could not be measured",
        ),
        ({"event": "stopped", "resume": "hlfd train -o RUN --resume"}, "Stopped. To go on: hlfd train -o RUN --resume"),
        (
            FINISHED,
            f"{CHOSEN}: validation Dice liver 0.912",
        ),
        (
            {**FINISHED, "undistilled": {"best_epoch": 5, "validation_dice": {"liver": 0.8}, "criterion": 0.8}},
            f"{CHOSEN}: validation Dice liver 0.912\nWithout distillation, epoch 5: validation Dice liver 0.800",
        ),
        # The command ends with its sentence.
        ({"event": "error", "message": "The loss is no number."}, ""),
    ],
)
def test_events_are_told_in_sentences(event, said, capsys):
    TrainingProgress()(event)
    assert capsys.readouterr().out.strip() == said


def test_log_tells_what_a_terminal_shows_as_a_bar_or_as_a_command():
    events = [
        {"event": "plan", "stages": [{"stage": "student", "epochs": 9, "steps": 5}], **COMPUTED},
        {"event": "reading", "done": 3, "of": 8},
        {"event": "step", "stage": "student", "epoch": 1, "epochs": 9, "step": 1, "steps": 5},
        {**EPOCH, "dice": {"liver": 0.91234}},
        {"event": "stopped", "resume": "hlfd train -o RUN --resume"},
        {"event": "error", "message": "The loss is no number."},
        {"event": "finished"},
        {"other": "object"},
    ]
    assert readable_log("\n".join(["a warning", *map(json.dumps, events)])).splitlines() == [
        "a warning",
        "epochs: student 9; on NVIDIA L4 (cuda:0), in bfloat16",
        "reading: 3 of 8",
        "student: epoch 3 of 9, loss 0.2000, validation Dice liver 0.912",
        "stopped; the state is kept",
        "error: The loss is no number.",
        '{"event": "finished"}',  # what is damaged stays as it is
        '{"other": "object"}',
    ]


def test_a_training_goes_on_without_a_terminal_that_was_closed():
    class Closed(Terminal):
        def write(self, _text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    progress = TrainingProgress(Closed())
    for event in ({"event": "reading", "done": 3, "of": 8}, {"event": "stopped", "resume": "hlfd train -o RUN"}):
        progress(event)


def test_steps_move_one_line_and_end_before_the_next_sentence(capsys):
    terminal = Terminal()
    progress = TrainingProgress(terminal)
    for step in (1, 2, 4):
        progress({"event": "step", "stage": "teacher", "epoch": 1, "epochs": 2, "step": step, "steps": 4})
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().split("\r")[2].startswith("teacher 1/2  [###############...............]  50%")
    progress({**EPOCH, "stage": "teacher", "dice": {"liver": 0.5}})
    assert terminal.getvalue().endswith("\n") and "teacher: epoch 3 of 9" in capsys.readouterr().out


def test_a_file_gets_a_line_a_phase():
    stream = io.StringIO()
    bar = ProgressBar(stream)
    for phase, share in (("segmenting", 0.0), ("segmenting", 0.7), ("explaining", 0.2)):
        bar(phase, share)
    bar.close()
    assert stream.getvalue() == "segmenting ...\nexplaining ...\n"


def test_a_terminal_gets_sentences_unless_json_is_asked_for(monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    assert isinstance(training._reporter(argparse.Namespace(json=False)), TrainingProgress)
    assert training._reporter(argparse.Namespace(json=True)) is json_lines
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert training._reporter(argparse.Namespace(json=False)) is json_lines
