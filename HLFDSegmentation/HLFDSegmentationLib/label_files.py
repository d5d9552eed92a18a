"""Reads the files of annotations."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from .ct_files import check_nifti, quiet
from .errors import InputError


def read_label(path: Path) -> sitk.Image:
    """An annotation, with the metadata of its file.

    Raises:
        InputError: there is no such file, it is damaged or cut short, or holds more than one value a voxel.
    """
    if not path.is_file():
        raise InputError(f"There is no label file {path}.")
    try:
        with quiet():
            if sitk.ImageFileReader.GetImageIOFromFileName(str(path)) == "NiftiImageIO":
                # Its orientation is that of the CT, or the check of the geometry tells.
                check_nifti(path, orientation=False)
            label = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read as an image: the file is damaged, incomplete or no image.") from error
    if label.GetDimension() != 3 or label.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path} does not hold one value for each voxel of a volume. A segmentation with overlapping segments is "
            "stored like this; in 3D Slicer, export it to a label map."
        )
    return label
