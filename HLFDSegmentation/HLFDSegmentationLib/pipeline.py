"""The main job: a CT in, a folder with segmentation, measures, attention and report out; or attention alone."""

from __future__ import annotations

import csv
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from .attention import LayerAttention
from .ct_files import check_name, read_ct
from .errors import InputError, OutputError
from .given_segmentation import read_segmentation
from .hounsfield import hu_problem
from .inference import Progress, Segmentation, Segmenter
from .model_package import ModelPackage
from .quantification import SegmentMeasures, measure, write_measures_csv
from .report import write_report
from .safe_files import replace_waiting
from .segmentation_files import write_image, write_segmentation_nifti, write_segmentation_nrrd
from .tasks import file_name
from .volumes import AxialSlices

NOT_HU = "This image does not look like CT in HU, and was used all the same because that was asked for: "


@dataclass(frozen=True)
class Result:
    """What `segment_to_folder` or `explain_to_folder` made.

    Attributes:
        folder: where the files lie.
        segmentation: labels, notes and attention.
        measures: of each segment.
        warnings: about the input.
    """

    folder: Path
    segmentation: Segmentation
    measures: list[SegmentMeasures]
    warnings: list[str]


def segment_to_folder(
    ct_path: str | Path,
    folder: str | Path,
    package: ModelPackage,
    *,
    device: str = "auto",
    tumor_threshold: float | None = None,
    attention: bool = False,
    signed: bool = False,
    force: bool = False,
    known: Sequence[str] = (),
    progress: Progress | None = None,
) -> Result:
    """Segments a CT and writes everything about it into a new folder, which appears only when it is complete.

    A report that cannot be made is told as a warning, and takes nothing else away.

    Files: segmentation.nii.gz, segmentation.seg.nrrd, segments.csv, report.html; with attention also
    attention/LABEL_LAYER.nii.gz, each on its layer's own grid, and attention.csv with the focus of every layer.

    Args:
        ct_path: NIfTI, NRRD or MHA file, or a DICOM folder.
        folder: new or empty.
        package: the model.
        device: see `choose_device`.
        tumor_threshold: see `Segmenter.segment`.
        attention: also the attention of every layer.
        signed: signed attention maps instead of positive ones.
        force: segment an image that does not look like CT in HU, and mark the result.
        known: sentences on the CT, the first of the result's notes.
        progress: called with a phase and the share of it that is done.

    Raises:
        InputError: the CT or an argument cannot be used.
        OutputError: the folder holds something already, or cannot be written.
    """
    folder = Path(folder)
    ct, warnings = _read(ct_path, folder, force)
    segmentation = Segmenter(package, device).segment(
        ct, tumor_threshold=tumor_threshold, attention=attention, signed=signed, progress=progress
    )
    segmentation.notes[:0] = known
    result = Result(folder, segmentation, measure(segmentation.labels, ct, package.task), warnings)
    with new_folder(folder) as part:
        write_segmentation_nifti(segmentation.labels, part / "segmentation.nii.gz")
        write_segmentation_nrrd(segmentation.labels, package.task, part / "segmentation.seg.nrrd")
        write_measures_csv(result.measures, part / "segments.csv")
        if attention:
            write_attention(segmentation.attention, AxialSlices(ct, package.task), part)
        try:
            _write_report(part, result, ct, ct_path, package)
        except (OutputError, MemoryError) as error:
            reason = str(error) or "the memory did not suffice."
            warnings.append(f"There is no report: {reason} All else is complete.".replace(str(part), str(folder)))
    return result


def explain_to_folder(
    ct_path: str | Path,
    segmentation_path: str | Path,
    folder: str | Path,
    package: ModelPackage,
    *,
    device: str = "auto",
    signed: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Writes what a model's layers look at for a segmentation that is given, and the segmentation's measures.

    Files: segments.csv, attention/, attention.csv and report.html, as `segment_to_folder` writes them.

    Args:
        segmentation_path: see `given_segmentation.read_segmentation`.

    The other arguments are those of `segment_to_folder`.

    Raises:
        InputError: the CT, the segmentation or an argument cannot be used.
        OutputError: the folder holds something already, or cannot be written.
    """
    folder = Path(folder)
    ct, warnings = _read(ct_path, folder, force)
    labels, notes = read_segmentation(segmentation_path, ct, package.task)
    segmentation = Segmenter(package, device).explain(ct, labels, signed=signed, progress=progress)
    segmentation.notes.extend(notes)
    result = Result(folder, segmentation, measure(labels, ct, package.task), warnings)
    with new_folder(folder) as part:
        write_measures_csv(result.measures, part / "segments.csv")
        write_attention(segmentation.attention, AxialSlices(ct, package.task), part)
        _write_report(part, result, ct, ct_path, package, given=Path(segmentation_path).name)
    return result


def _write_report(
    part: Path, result: Result, ct: sitk.Image, ct_path: str | Path, package: ModelPackage, given: str | None = None
) -> None:
    write_report(
        part / "report.html",
        ct=ct,
        ct_name=Path(ct_path).absolute().name,
        segmentation=result.segmentation,
        measures=result.measures,
        package=package,
        warnings=result.warnings,
        given=given,
    )


def _read(ct_path: str | Path, folder: Path, force: bool) -> tuple[sitk.Image, list[str]]:
    """The CT and warnings about it, when the folder for the results was found fit."""
    check_name(folder, OutputError)
    _check_new(folder)
    check_makeable(folder)
    ct = read_ct(ct_path)
    problem = hu_problem(ct)
    if problem and not force:
        raise InputError(f"{problem} If you are sure that it is a CT, use --force; the report will say so.")
    return ct, [NOT_HU + problem] if problem else []


def write_attention(attention: Iterable[LayerAttention], slices: AxialSlices, folder: Path) -> None:
    """Writes attention/LABEL_LAYER.nii.gz for each map, on its layer's own grid, and attention.csv with the focus."""
    rows = []
    for layer in attention:
        name = f"{file_name(layer.label)}_{layer.layer}.nii.gz"
        write_image(layer.image(slices), folder / "attention" / name)
        rows.append({"label": layer.label, "layer": layer.layer, "file": f"attention/{name}", **_focus_columns(layer)})
    columns = ("label", "layer", "file", *FOCUS_COLUMNS)
    with open(folder / "attention.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


FOCUS_COLUMNS = (
    "focus_segment",
    "focus_organ",
    "segment_share_of_body",
    "organ_share_of_body",
    "segment_ratio",
    "organ_ratio",
    "empty",
)


def _focus_columns(layer: LayerAttention) -> dict[str, str]:
    focus = layer.focus
    values: tuple[float, ...] = ()
    if focus:
        values = (
            focus.segment,
            focus.organ,
            focus.segment_share_of_body,
            focus.organ_share_of_body,
            focus.segment_ratio,
            focus.organ_ratio,
        )
    return {**dict(zip(FOCUS_COLUMNS, (f"{value:.4f}" for value in values))), "empty": "yes" if layer.empty else "no"}


def _check_new(folder: Path) -> None:
    if folder.is_file():
        raise OutputError(f"{folder} is a file. Give the name of a new folder for the results.")
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"The folder {folder} is not empty. Choose a new one, so that no earlier result is lost.")


def check_makeable(folder: Path) -> None:
    """Raises OutputError where the folder could not be made, before minutes of work are spent on what goes into it."""
    above = folder if folder.is_dir() else next((one for one in folder.absolute().parents if one.exists()), None)
    if above is None:
        raise OutputError(
            f"{folder} cannot be made: there is no {folder.absolute().anchor} now. Connect the disk or the network "
            "share, or choose another folder."
        )
    if not above.is_dir():
        raise OutputError(f"{folder} cannot be made: {above} is a file. Choose another folder.")
    try:
        # Asking for the right would not do: on Windows, folders seem to have it always.
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made: {above} may not be changed ({error.strerror}). Choose a folder that you may "
            "write to."
        ) from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields a folder to fill; it becomes `folder` when the block ends without an error, and vanishes otherwise.

    Where only the last step fails, it stays, for it holds minutes of work, and the error says where it lies.

    An empty folder that is there already is kept, for it may be the current one, a link, or a disk: it is filled at the
    end.

    Raises:
        OutputError: the folder holds something already, or cannot be written.
    """
    _check_new(folder)
    there = folder.is_dir()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder if there else folder.parent
        # Not a private one of `tempfile`: it becomes the user's folder, with the rights that his folders have.
        part = beside / f".{folder.name}.{uuid.uuid4().hex[:8]}.part"
        part.mkdir()
    except OSError as error:
        raise OutputError(f"The folder {folder} cannot be made: {error.strerror}. Choose another one.") from error
    try:
        yield part
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OutputError):
            # The user knows the folder, and not the hidden one beside it.
            raise OutputError(str(error).replace(str(part), str(folder))) from error
        if isinstance(error, OSError):
            raise OutputError(f"{folder} could not be written: {error.strerror}. Choose another folder.") from error
        raise
    if there:
        _fill(folder, part)
        return
    try:
        replace_waiting(part, folder)
    except OSError as error:
        raise OutputError(
            f"{folder} could not be given its name: {error.strerror}. The results are complete and lie in {part}."
        ) from error


def _fill(folder: Path, part: Path) -> None:
    """Moves what is in `part`, which lies in the folder, into the folder itself.

    Raises:
        OutputError: there is something in the folder now, or something could not be moved.
    """
    others = [path.name for path in folder.iterdir() if path != part]
    if others:
        raise OutputError(f"{folder} was empty and now holds {others[0]}. The results are complete and lie in {part}.")
    for path in sorted(part.iterdir()):
        try:
            replace_waiting(path, folder / path.name)
        except OSError as error:
            raise OutputError(
                f"{path.name} could not be moved into {folder}: {error.strerror}. It lies in {part}, as does what "
                "else is missing of the results."
            ) from error
    shutil.rmtree(part, ignore_errors=True)
