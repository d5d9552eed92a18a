"""The DICOM files that a CT of the scene was loaded from."""

from __future__ import annotations

import slicer


def dicom_files(volume_node: slicer.vtkMRMLVolumeNode) -> tuple[str, ...]:
    """As Slicer's DICOM database knows them; none for a CT from elsewhere, or when one is no longer in the database."""
    database = getattr(slicer, "dicomDatabase", None)
    instances = (volume_node.GetAttribute("DICOM.instanceUIDs") or "").split()
    if database is None:
        return ()
    files = tuple(database.fileForInstance(instance) for instance in instances)
    return files if all(files) else ()
