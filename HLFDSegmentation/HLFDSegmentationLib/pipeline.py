"""The main job: a CT in, a folder with segmentation, measures, attention and report out; or attention alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from .child_process.raw_images import grid_of
from .ct_files import read_ct_and_doubts
from .devices import is_out_of_memory
from .errors import InputError, OutputError
from .given_segmentation import read_segmentation
from .hounsfield import MODALITY, hu_problem
from .image_files.image_headers import check_name, untold_grid_cautions
from .inference import Progress, Segmentation, Segmenter
from .measures import SegmentMeasures
from .model_package import ModelPackage
from .output.attention_files import write_attention
from .output.output_folder import LITTLE_SPACE, MEASURES, REPORT, check_makeable, check_new, new_folder
from .output.segmentation_files import write_image, write_segmentation_nrrd
from .quantification import measure, write_measures_csv
from .report import write_report
from .volumes import AxialSlices

NOT_HU = "This image does not look like CT in HU, and was used all the same because that was asked for: "
NOT_JUDGED = (
    "This segmentation was given: whether what it calls tumor is any, and whether the CT has contrast medium, was not "
    "judged. Where a model made it, the cautions of that result hold for all that nobody has corrected since."
)


@dataclass(frozen=True)
class Result:
    """What `segment_to_folder` or `explain_to_folder` made.

    Attributes:
        folder: where the files lie.
        segmentation: labels, notes and attention.
        measures: of each segment.
        warnings: about the input, and of a report that could not be written.
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
    known: Callable[[Segmentation], Sequence[str]] | None = None,
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
        known: gives what is known of the CT, and of what was found in it: the first of the result's notes.
        progress: called with a phase and the share of it that is done.

    Raises:
        InputError: the CT or an argument cannot be used.
        OutputError: the folder holds something already, or cannot be written.
    """
    folder = Path(folder)
    ct, doubts, warnings = _read(ct_path, folder, force)
    segmentation = Segmenter(package, device).segment(
        ct, tumor_threshold=tumor_threshold, attention=attention, signed=signed, progress=progress
    )
    segmentation.notes[:0] = [*(known(segmentation) if known else []), *doubts]
    result = Result(folder, segmentation, measure(segmentation.labels, ct, package.task), warnings)
    with new_folder(folder) as part:
        write_image(segmentation.labels, part / "segmentation.nii.gz")
        write_segmentation_nrrd(segmentation.labels, package.task, part / "segmentation.seg.nrrd")
        write_measures_csv(result.measures, part / MEASURES)
        if attention:
            write_attention(segmentation.attention, AxialSlices(ct, package.task), part)
        _write_report(part, result, ct, ct_path, package)
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
    ct, doubts, warnings = _read(ct_path, folder, force)
    labels, cautions, notes = read_segmentation(segmentation_path, ct, package.task)
    segmentation = Segmenter(package, device).explain(ct, labels, signed=signed, progress=progress)
    segmentation.cautions[:0] = [*([NOT_JUDGED] if package.task.tumors else []), *cautions]
    segmentation.notes[:0] = doubts
    segmentation.notes.extend(notes)
    result = Result(folder, segmentation, measure(labels, ct, package.task), warnings)
    with new_folder(folder) as part:
        write_measures_csv(result.measures, part / MEASURES)
        write_attention(segmentation.attention, AxialSlices(ct, package.task), part)
        _write_report(part, result, ct, ct_path, package, given=Path(segmentation_path).name)
    return result


def _write_report(
    part: Path, result: Result, ct: sitk.Image, ct_path: str | Path, package: ModelPackage, given: str | None = None
) -> None:
    """Writes the report. Where that fails, it is a warning: all else, the work of minutes, is there."""
    try:
        write_report(
            part / REPORT,
            ct=ct,
            ct_name=Path(ct_path).absolute().name,
            segmentation=result.segmentation,
            measures=result.measures,
            package=package,
            warnings=result.warnings,
            given=given,
            dicom_series=Path(ct_path).is_dir(),
        )
    except OutputError as error:
        reason = str(error)
    except (MemoryError, RuntimeError) as error:  # ITK raises the latter where it has too little memory
        if not is_out_of_memory(error):
            raise
        reason = "the memory did not suffice."
    else:
        return
    sentence = f"There is no report: {reason} All else is complete."
    result.warnings.append(sentence.replace(str(part), str(result.folder)))


def _read(ct_path: str | Path, folder: Path, force: bool) -> tuple[sitk.Image, list[str], list[str]]:
    """The CT, what makes it doubtful and warnings about it, when the folder for the results was found fit."""
    check_name(folder, OutputError)
    check_new(folder)
    check_makeable(folder, LITTLE_SPACE)
    ct, doubts = read_ct_and_doubts(ct_path)
    problem = hu_problem(ct)
    if problem and not force:
        raise InputError(
            f"{problem} --force uses it all the same, value by value as it is, and the report says so: of values that "
            "are shifted or multiplied, the result is useless."
        )
    warnings = [NOT_HU + problem] if problem else []
    return ct, doubts, warnings if ct.HasMetaDataKey(MODALITY) else warnings + untold_grid_cautions(grid_of(ct))
