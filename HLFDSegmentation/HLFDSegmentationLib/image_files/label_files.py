"""Reads the files of annotations."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from ..ct_files import check_readable, quiet
from ..errors import InputError
from .image_headers import check_name, check_numbers, is_allocation_failure
from .nifti_files import check_nifti, check_nifti_version
from .text_headers import check_checksum, check_text_header

AS_BACKGROUND = "Set them to 0, the background, and save the file again."


def read_label(path: Path, *, orientation: bool = False) -> sitk.Image:
    """An annotation, with the metadata of its file.

    Args:
        path: NIfTI, NRRD or MetaImage file.
        orientation: whether the file must say how the patient lies. An annotation on the grid of its CT need not.

    Raises:
        InputError: there is no such file, it is damaged or cut short, holds more than one value a voxel or values that
            are no number, or does not say how the patient lies where it must.
    """
    check_name(path, InputError)
    if path.is_dir():
        raise InputError(f"{path} is a folder. Give the label file in it.")
    if not path.is_file():
        raise InputError(f"There is no label file {path}.")
    check_readable(path)
    check_nifti_version(path)
    label = _of_one_volume(_read(path, orientation), path)
    check_numbers(label, str(path), AS_BACKGROUND)
    return label


def _read(path: Path, orientation: bool) -> sitk.Image:
    try:
        with quiet():
            reader = sitk.ImageFileReader.GetImageIOFromFileName(str(path))
            if orientation:
                check_text_header(path, reader)
            check_checksum(path, reader)
            if reader == "NiftiImageIO":
                check_nifti(path, orientation=orientation, remedy=AS_BACKGROUND)
            return sitk.ReadImage(str(path))
    except RuntimeError as error:
        if is_allocation_failure(error):
            raise MemoryError from error
        raise InputError(
            f"{path} cannot be read as an image: the file is damaged, incomplete or no image. Give NIfTI, NRRD or "
            "MetaImage."
        ) from error


def _of_one_volume(label: sitk.Image, path: Path) -> sitk.Image:
    """The annotation with three dimensions. Raises InputError where it has not one value for each voxel of them."""
    if label.GetDimension() < 3:
        raise InputError(f"{path} is a single picture. Give a label file of the whole volume.")
    if label.GetDimension() == 4 and label.GetSize()[3] == 1:
        label = label[:, :, :, 0]
    if label.GetDimension() != 3 or label.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path} does not hold one value for each voxel of a volume. A segmentation with overlapping segments is "
            "stored like this; in the Segment Editor of 3D Slicer, take the tumor out of the organ (Logical operators, "
            "Subtract), and save it again."
        )
    return label
