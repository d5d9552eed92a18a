"""Computing on a processor that others use as well, such as a training beside a segmentation."""

from __future__ import annotations

import os


def wait_asleep() -> None:
    """Lets threads that wait for each other sleep early; to be called before torch is imported.

    OpenMP's threads (GNU's, which torch has on Linux) turn in a loop for milliseconds before they sleep, and take the
    processor from the thread that they wait for. Testing/benchmarks/busy_processor.py measures it.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
