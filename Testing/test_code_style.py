"""The linter and the formatter have nothing to say."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_ruff_is_satisfied(command):
    process = subprocess.run([sys.executable, "-m", "ruff", *command, CHECKOUT], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
