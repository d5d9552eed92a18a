"""Slicer's DICOM database: which file holds an image that was imported."""


class DicomDatabase:
    """`slicer.dicomDatabase`. A test imports files by writing them into `files`.

    Attributes:
        files: the file of each image, by its SOP instance UID.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def fileForInstance(self, instance: str) -> str:  # noqa: N802
        """The file; "" for an image that is not in the database."""
        return self.files.get(instance, "")
