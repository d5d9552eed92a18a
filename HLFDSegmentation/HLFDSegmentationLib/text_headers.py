"""What ITK passes over in silence in the headers of NRRD and MetaImage files: it takes 1 mm for what they leave out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import InputError

LONGEST_HEADER = 1 << 20

# In other spaces of a NRRD file, such as a scanner's, ITK takes the axes for left, posterior and superior.
PATIENT_SPACES = {
    space + time
    for space in (
        "left-posterior-superior",
        "lps",
        "right-anterior-superior",
        "ras",
        "left-anterior-superior",
        "las",
    )
    for time in ("", "-time")
} | {"lpst", "rast", "last"}


def check_text_header(path: Path, reader: str) -> None:
    """Looks whether a file says how large its voxels are and how the patient lies.

    Formats: NRRD (teem.sourceforge.net/nrrd/format.html) and MetaImage (itk.org/Wiki/MetaIO/Documentation).

    Args:
        path: the file.
        reader: ITK's name of its reader; a file that is neither NRRD nor MetaImage is left to others.

    Raises:
        InputError: it does not, or its unit is not the millimeter.
    """
    if reader == "NrrdImageIO":
        _check_nrrd(_fields(path, ":"), path)
    elif reader == "MetaImageIO":
        _check_meta_image(_fields(path, "="), path)


def _fields(path: Path, separator: str) -> Mapping[str, str]:
    """The header's entries, their names in lower case."""
    return {
        name.strip().lower(): value.strip()
        for name, value in (line.split(separator, 1) for line in _lines(path, separator))
    }


def _lines(path: Path, separator: str) -> Iterator[str]:
    with open(path, "rb") as file:
        header = file.read(LONGEST_HEADER)
    for line in header.split(b"\n"):
        text = line.decode("utf-8", "replace").strip()
        if not text:
            return
        # A NRRD file's own entries have a colon; what programs add to it, as 3D Slicer does, has := instead.
        if separator in text and ":=" not in text:
            yield text
        if text.lower().startswith("elementdatafile"):
            return


def _check_nrrd(fields: Mapping[str, str], path: Path) -> None:
    space = fields.get("space", "").lower()
    if "space directions" not in fields or space not in PATIENT_SPACES:
        raise _untold(path, "no 'space directions' in one of the patient's spaces")
    units = fields.get("space units", "").replace('"', " ").split()
    if wrong := sorted({unit for unit in units if unit.lower() not in ("mm", "millimeter", "s", "ms", "")}):
        raise _not_in_mm(path, wrong[0])


def _check_meta_image(fields: Mapping[str, str], path: Path) -> None:
    if not {"elementspacing", "elementsize"} & fields.keys():
        raise _untold(path, "no 'ElementSpacing'")
    if not {"transformmatrix", "orientation", "rotation"} & fields.keys():
        raise _untold(path, "no 'TransformMatrix'")
    unit = fields.get("distanceunits", "mm")
    if unit.lower() not in ("mm", "?", ""):
        raise _not_in_mm(path, unit)


def _not_in_mm(path: Path, unit: str) -> InputError:
    return InputError(
        f"{path} gives its voxel spacing in {unit}. Save it again with a spacing in mm, for example in 3D Slicer."
    )


def _untold(path: Path, missing: str) -> InputError:
    return InputError(
        f"{path} does not say how large its voxels are or how the patient lies in it (its header has {missing}), so "
        "volumes would be wrong, or left and right mistaken. Export it again with spacing and orientation."
    )
