"""The exceptions whose text is meant to be read by a user."""


class HLFDError(Exception):
    """What happened, to which case or file, and what to do next, in plain sentences.

    The command prints the text and exits non-zero; the Slicer module shows it. Every exception whose text is for a user
    derives from this class. Those that only stop something (`Stopped`, `JobStoppedError`), or pass on that memory is
    short (`MemoryError`), do not.
    """


class InputError(HLFDError):
    """What the user has given cannot be used: a file, a folder, a node of a scene or a value."""


class NotHUError(InputError):
    """An image does not look like CT in HU."""


class OutputError(HLFDError):
    """A result cannot be written."""


class MemoryShortError(HLFDError):
    """The memory does not suffice."""


class TaskError(HLFDError):
    """A task name or task file cannot be used."""


class NetworkError(HLFDError):
    """A network name, layer name or set of weights cannot be used."""


class PackageError(HLFDError):
    """A model package is missing, damaged or unsafe."""


class CasesError(HLFDError):
    """Training cases cannot be used."""


class TrainingError(HLFDError):
    """Training cannot start or go on."""
