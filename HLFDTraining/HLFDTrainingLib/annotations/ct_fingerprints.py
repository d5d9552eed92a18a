"""CTs known again by their files: a copy under another name is of the same patient, whatever that one is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from HLFDSegmentationLib.errors import CasesError
from HLFDSegmentationLib.model_files.package_files import LEFT_BY_FILE_MANAGERS

from ..cases import Case

WHOLE_FILES = (".nii", ".nii.gz", ".nrrd", ".mha")
"""Ends of names of files that hold the voxels; others may be headers, which different CTs can share."""

CHUNK = 1 << 20


def ct_fingerprints(cases: Iterable[Case]) -> dict[str, str]:
    """The fingerprint of each case's CT by the case's name, of those that have one."""
    return {case.name: key for case in cases if (key := image_fingerprint(case.ct))}


def image_fingerprint(path: Path) -> str | None:
    """The SHA-256 of the file of a CT or of a label, or of the files of a DICOM folder in any order.

    None where there is no file, or one that may be a header whose voxels lie in another one.
    """
    try:
        if path.is_dir():
            files = sorted(map(_of_file, files_in(path)))
            return sha256("".join(files).encode()).hexdigest() if files else None
        return _of_file(path) if path.name.lower().endswith(WHOLE_FILES) else None
    except OSError:
        return None


def files_in(folder: Path) -> list[Path]:
    """The files in a DICOM folder, without those that file managers leave in any folder."""
    return [
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name.lower() not in LEFT_BY_FILE_MANAGERS
    ]


def _of_file(path: Path) -> str:
    digest = sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check_patients_named_alike(
    cases: Iterable[Case], fingerprints: Mapping[str, str], patients: Mapping[str, str]
) -> None:
    """Refuses a CT whose patient has another name than before: the parts of a split hang on the name.

    Args:
        cases: to be divided, or divided already.
        fingerprints: of their CTs, by case name.
        patients: by fingerprint, in the trainings from which this one goes on.

    Raises:
        CasesError: such a case.
    """
    for case in cases:
        name = patients.get(fingerprints.get(case.name, ""), case.patient)
        if name != case.patient:
            raise CasesError(
                f"Case {case.name}: its CT is that of patient '{name}' in the training that this one goes on from. "
                f"With the patient '{case.patient}' the network could be judged by what it has learned from. Call the "
                f"patient '{name}', or leave the case out, and begin the training anew."
            )
