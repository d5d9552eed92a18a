"""Reads CT files, and says in plain sentences what is wrong with those that cannot be used."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .hounsfield import MODALITY
from .image_files.dicom_series import lone_slice_doubts, read_dicom_folder
from .image_files.dicom_slice import check_dicom, tell_thickness
from .image_files.image_headers import check_header, check_name, check_numbers, read_header, voxels_of
from .image_files.nifti_files import check_nifti, check_nifti_version, place_doubts
from .image_files.text_headers import check_checksum, check_text_header

# ITK's names of the readers whose files hold a CT with its geometry.
READERS = {"NiftiImageIO", "NrrdImageIO", "MetaImageIO", "GDCMImageIO"}

BODY_HU = -300.0
"""What is denser is body, not air. A CT in which nothing is holds no patient."""


def read_ct(path: str | Path) -> sitk.Image:
    """The CT alone, where no result is shown that its doubts could stand beside; see `read_ct_and_doubts`."""
    return read_ct_and_doubts(path)[0]


def read_ct_and_doubts(path: str | Path) -> tuple[sitk.Image, list[str]]:
    """A CT from a NIfTI, NRRD or MetaImage file, or from a folder with the slices of one DICOM series.

    Of the file's metadata only the DICOM modality is kept, so that nothing about the patient travels on.

    Returns:
        A three-dimensional image with one real value a voxel, on the file's own grid, and sentences on what only its
        files tell, to stand beside a result.

    Raises:
        InputError: the path holds no such CT; the text says why and what to do.
    """
    path = Path(path)
    check_name(path, InputError)
    if not path.exists():
        raise InputError(f"There is no file or folder {path}. Check the path.")
    with quiet():
        ct, doubts = _read_folder(path) if path.is_dir() else _read_file(path)
    check_voxels(ct, str(path))
    return _without_metadata(ct), doubts


def _without_metadata(ct: sitk.Image) -> sitk.Image:
    """The CT with its DICOM modality alone."""
    try:
        for key in ct.GetMetaDataKeys():
            if key != MODALITY:
                ct.EraseMetaData(key)
    except TypeError:  # The name of an entry is no UTF-8. Files with one are not DICOM, and have no modality.
        return sitk.Extract(ct, ct.GetSize(), [0] * ct.GetDimension())
    return ct


def _read_folder(path: Path) -> tuple[sitk.Image, list[str]]:
    try:
        return read_dicom_folder(path)
    except OSError as error:
        raise InputError(
            f"{error.filename or path} cannot be read: {error.strerror}. Check that you may read it."
        ) from error


def check_readable(path: Path) -> None:
    """Raises InputError where the file may not be read, which ITK takes for damage."""
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}. Check that you may read it.") from error


def _read_file(path: Path) -> tuple[sitk.Image, list[str]]:
    check_readable(path)
    check_nifti_version(path)
    kind = sitk.ImageFileReader.GetImageIOFromFileName(str(path))
    if kind not in READERS and zipfile.is_zipfile(path):
        raise InputError(
            f"{path} is a ZIP archive. Unpack it, and give the CT in it: a file, or the folder that directly holds its "
            "DICOM files."
        )
    if kind not in READERS:
        what = "is a picture, not a CT" if kind else "is damaged, or not an image file"
        raise InputError(
            f"{path} {what}. Give a CT as NIfTI (.nii, .nii.gz), NRRD (.nrrd), MetaImage (.mha), or a DICOM folder."
        )
    if kind == "NiftiImageIO":
        check_nifti(path)
    header = read_header(path)
    check_header(header, path)
    check_text_header(path, kind)
    check_checksum(path, kind)
    if kind == "GDCMImageIO":
        check_dicom(header, path)
    ct = voxels_of(header, path)
    if kind == "GDCMImageIO":
        tell_thickness(ct, path)
        return ct, lone_slice_doubts(path)
    if "vector" in ct.GetPixelIDTypeAsString():  # Of one component, as of a NRRD file with a list of one volume.
        ct = sitk.VectorIndexSelectionCast(ct, 0)
    return ct[:, :, :, 0] if ct.GetDimension() == 4 else ct, place_doubts(path) if kind == "NiftiImageIO" else []


def check_voxels(ct: sitk.Image, name: str) -> None:
    """Raises InputError, with the CT's name in the sentence, where the voxels are no numbers or nothing but air."""
    voxels = sitk.GetArrayViewFromImage(ct)
    if np.issubdtype(voxels.dtype, np.complexfloating):
        raise InputError(f"{name} holds complex numbers, not HU. Give the CT itself.")
    check_numbers(ct, name)
    if voxels.max() <= BODY_HU:
        raise InputError(
            f"{name} holds nothing but air: its highest value is {voxels.max():g} HU. Check that it is the right CT."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what ITK's readers print to the process's own streams from the user: the sentences here replace it."""
    warnings = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    try:
        saved = [(stream, os.dup(stream)) for stream in (1, 2)]
    except OSError:
        # A windowed process may have no streams; then nothing can be printed to them either.
        saved = []
    try:
        with open(os.devnull, "wb") as nowhere:
            for stream, _ in saved:
                os.dup2(nowhere.fileno(), stream)
            yield
    finally:
        for stream, copy in saved:
            os.dup2(copy, stream)
            os.close(copy)
        sitk.ProcessObject.SetGlobalWarningDisplay(warnings)
