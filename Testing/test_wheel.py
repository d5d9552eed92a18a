"""What a user gets who installs the wheel and not the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.mark.slow
def test_wheel_holds_both_libraries_and_the_default_model(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, CHECKOUT]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = set(wheel.namelist())
    sources = {
        f"{root.name}/{path.relative_to(root).as_posix()}"
        for root in (
            CHECKOUT / "HLFDSegmentation" / "HLFDSegmentationLib",
            CHECKOUT / "HLFDTraining" / "HLFDTrainingLib",
        )
        for path in root.rglob("*.py")
    }
    models = CHECKOUT / "HLFDSegmentation" / "Resources" / "Models"
    shipped = {
        f"HLFDSegmentationLib/Models/{path.relative_to(models).as_posix()}"
        for path in models.rglob("*")
        if path.is_file()
    }
    assert sources <= held
    assert shipped and shipped <= held
