"""The type hints of both Lib packages tell the truth, as far as mypy can see."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed; the extra 'test' brings it")
def test_mypy_is_satisfied():
    command = [sys.executable, "-m", "mypy", "--cache-dir", os.devnull]
    process = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
