"""`hlfd segment`, `hlfd explain` and `hlfd demo`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from HLFDSegmentationLib.errors import InputError, OutputError

from .new_command import new_command

if TYPE_CHECKING:
    import SimpleITK as sitk
    from HLFDSegmentationLib.inference import Segmentation
    from HLFDSegmentationLib.measures import SegmentMeasures
    from HLFDSegmentationLib.pipeline import Result


def add_segment(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = new_command(commands, "segment", _segment, "Segment a CT and write labels, measures and a report.")
    parser.add_argument("ct", help="NIfTI, NRRD or MHA file, or a folder with one DICOM series")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder for the results")
    _add_segment_options(parser)
    parser.add_argument("--attention", action="store_true", help="also the attention maps of every layer")
    parser.add_argument("--signed", action="store_true", help="signed attention maps instead of positive ones")


def _add_segment_options(parser: argparse.ArgumentParser) -> None:
    _add_model_options(parser)
    parser.add_argument(
        "--tumor-threshold", type=probability, metavar="P", help="a voxel is tumor from this probability on"
    )


def probability(text: str) -> float:
    """Any number; what lies outside of 0 to 1 is refused where it is used."""
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number, as 0.5.") from error


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="name or folder of a model; the one that ships with HLFD by default")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--force", action="store_true", help="use an image that does not look like CT in HU")


def _segment(options: argparse.Namespace) -> int:
    if options.signed and not options.attention:
        raise InputError("--signed tells how attention maps are made. Ask for them, too: --attention --signed.")
    return _segment_and_tell(options, options.ct, options.output, attention=options.attention, signed=options.signed)


def _segment_and_tell(
    options: argparse.Namespace,
    ct: str | Path,
    output: Path,
    *,
    attention: bool,
    signed: bool = False,
    truth: Truth | None = None,
) -> int:
    """Segments and prints what was found; where the truth is known, beside it, and in the report.

    Returns the exit status: 1 where all is there but the report, which a script must not take for done.
    """
    from HLFDSegmentationLib.model_store import find_package
    from HLFDSegmentationLib.pipeline import segment_to_folder

    from ..progress import ProgressBar

    with closing(ProgressBar()) as bar:
        result = segment_to_folder(
            ct,
            output,
            find_package(options.model),
            device=options.device,
            tumor_threshold=options.tumor_threshold,
            attention=attention,
            signed=signed,
            force=options.force,
            known=truth.notes if truth else None,
            progress=bar,
        )
    _tell_notes(result)
    true = truth.in_words(result.segmentation) if truth else {}
    for segment in result.measures:
        known = f"; in truth {true[segment.label]}" if segment.label in true else ""
        print(f"{segment.label:<14} {_volume(segment.volume_ml):>8} mL{_lesions(segment)}{known}")
    return _tell_report(result)


def _volume(volume_ml: float) -> str:
    return "< 0.1" if 0 < volume_ml < 0.05 else f"{volume_ml:.1f}"


def _lesions(segment: SegmentMeasures) -> str:
    return f", lesions: {len(segment.lesions)}" if segment.of_tumor else ""


@dataclass(frozen=True)
class Truth:
    """What a CT holds that no scanner made.

    Attributes:
        labels: of the generator's task, on the CT's grid.
        measures: of these labels.
    """

    labels: sitk.Image
    measures: list[SegmentMeasures]

    def notes(self, found: Segmentation) -> list[str]:
        """What a reader must know of the CT."""
        held = "; ".join(f"{label} {words}" for label, words in self.in_words(found).items())
        return [
            f"This CT was computed for the demo, and is of no patient. In truth it holds: {held}. How a model does on "
            "it does not tell how it does on patients."
        ]

    def in_words(self, found: Segmentation) -> dict[str, str]:
        """Volume and number of lesions by label, and how much of it was found: two volumes alone may be alike where
        they lie in different places."""
        found_ml = self._found_ml(found)
        shares = {label: f" ({_volume(ml)} mL of it found)" for label, ml in found_ml.items()}
        return {one.label: f"{one.volume_ml:.1f} mL{shares.get(one.label, '')}{_lesions(one)}" for one in self.measures}

    def _found_ml(self, found: Segmentation) -> dict[str, float]:
        """By label, of those that the model has, too."""
        import numpy as np
        import SimpleITK as sitk
        from HLFDSegmentationLib.phantom import TASK

        true, seen = map(sitk.GetArrayViewFromImage, (self.labels, found.labels))
        values = {label.name: label.value for label in found.task.labels}
        voxel_ml = math.prod(self.labels.GetSpacing()) / 1000
        return {
            label.name: int(np.count_nonzero((true == label.value) & (seen == values[label.name]))) * voxel_ml
            for label in TASK.labels
            if label.name in values
        }


def _tell_notes(result: Result) -> None:
    for sentence in (*result.warnings, *result.segmentation.cautions):
        print(f"Caution: {sentence}")
    for sentence in result.segmentation.notes:
        print(f"Note: {sentence}")


def _tell_report(result: Result) -> int:
    from HLFDSegmentationLib.output.output_folder import REPORT
    from HLFDSegmentationLib.report import RESEARCH_ONLY

    report = result.folder / REPORT
    there = report.is_file()
    print(f"Report: {report}" if there else f"Results: {result.folder}")
    print(RESEARCH_ONLY)
    return 0 if there else 1


def add_explain(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    text = "Show what a model's layers look at for a segmentation that you give, such as a corrected one."
    parser = new_command(commands, "explain", _explain, text)
    parser.add_argument("ct", help="NIfTI, NRRD or MHA file, or a folder with one DICOM series")
    parser.add_argument("segmentation", help="NIfTI, NRRD (also .seg.nrrd) or MHA file with the model's labels")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder for the results")
    _add_model_options(parser)
    parser.add_argument("--signed", action="store_true", help="signed attention maps instead of positive ones")


def _explain(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import find_package
    from HLFDSegmentationLib.pipeline import explain_to_folder

    from ..progress import ProgressBar

    with closing(ProgressBar()) as bar:
        result = explain_to_folder(
            options.ct,
            options.segmentation,
            options.output,
            find_package(options.model),
            device=options.device,
            signed=options.signed,
            force=options.force,
            progress=bar,
        )
    _tell_notes(result)
    from HLFDSegmentationLib.reports.report_attention import focus_of_segment

    for layer in result.segmentation.attention:
        print(f"{layer.label:<14} {layer.layer:<9} {focus_of_segment(layer)}")
    return _tell_report(result)


def add_demo(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = new_command(
        commands, "demo", _demo, "Segment a generated CT, or your own, and show every layer's attention."
    )
    parser.add_argument("ct", nargs="?", help="your own CT; without it one is generated")
    parser.add_argument("-o", "--output", type=Path, default=Path("hlfd-demo"), help="folder (default: hlfd-demo)")
    parser.add_argument("--seed", type=_seed, help="of the generated CT: another seed, another patient (default: 0)")
    _add_segment_options(parser)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 0 on")
    return int(text)


def _demo(options: argparse.Namespace) -> int:
    if options.ct is not None and options.seed is not None:
        raise InputError("--seed is of the CT that is generated, and you give one. Leave out one of the two.")
    _check_usable(options)
    with _claimed(options.output.absolute()) as output:
        ct, truth = (options.ct, None) if options.ct is not None else _generated(output, options.seed or 0)
        return _segment_and_tell(options, ct, output / "result", attention=True, truth=truth)


def _check_usable(options: argparse.Namespace) -> None:
    """Raises what segmenting would, before a CT is generated."""
    from HLFDSegmentationLib.devices import choose_device
    from HLFDSegmentationLib.inference import check_threshold
    from HLFDSegmentationLib.model_store import find_package

    find_package(options.model)
    choose_device(options.device)
    check_threshold(options.tumor_threshold)


def _generated(output: Path, seed: int) -> tuple[Path, Truth]:
    """A CT made for the demo, and what it holds."""
    import SimpleITK as sitk
    from HLFDSegmentationLib.phantom import TASK, write_phantom
    from HLFDSegmentationLib.quantification import measure

    print("Generating a CT ...", file=sys.stderr, flush=True)
    ct, label_file = write_phantom(output / "generated_ct", seed)
    labels = sitk.ReadImage(str(label_file))
    return ct, Truth(labels, measure(labels, sitk.ReadImage(str(ct)), TASK))


@contextmanager
def _claimed(folder: Path) -> Iterator[Path]:
    """An `_unused` folder that is made at once, so that no other demo takes it; removed where it stays empty."""
    from HLFDSegmentationLib.output.output_folder import LITTLE_SPACE, check_makeable

    while True:
        claimed = _unused(folder)
        check_makeable(claimed, LITTLE_SPACE)
        with suppress(FileExistsError):  # Another demo was first.
            claimed.mkdir(parents=True)
            break
    try:
        yield claimed
    finally:
        with suppress(OSError):  # It is not empty.
            claimed.rmdir()


def _unused(folder: Path) -> Path:
    """The folder, or the first of FOLDER-2, FOLDER-3, ... that is not there yet."""
    number = 1
    candidate = folder
    if not folder.name:
        raise OutputError(f"{folder} is a whole disk. Give the name of a new folder for the results.")
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate
