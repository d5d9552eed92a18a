"""The program that imports a model beside Slicer: `python -m HLFDSegmentationLib.model_files.model_import SOURCE`.

It is one of its own because checking a package loads its network. It prints the model's name, or the sentence why the
package is refused, and then its exit code is `REFUSED`.
"""

from __future__ import annotations

import sys

from ..errors import HLFDError
from ..model_store import import_package
from ..torch_loading import explaining_torch

REFUSED = 3


def main() -> int:
    """Imports the package, zip or folder, that the command line names."""
    try:
        with explaining_torch():
            print(import_package(sys.argv[1]).name)
    except HLFDError as error:
        print(error)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
