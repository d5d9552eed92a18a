"""The examples of docs/python.md, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import SimpleITK as sitk
from generated_cases import blob_case

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


@pytest.fixture
def folder_with_cts(tmp_path, monkeypatch):
    """One CT for itself; in a folder another one, one that is none in HU, and a file that cannot be read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cts").mkdir()
    ct = blob_case(0)[0]
    sitk.WriteImage(ct, "ct.nii.gz")
    sitk.WriteImage(ct, "cts/good.nii.gz")
    sitk.WriteImage(sitk.Cast(sitk.Clamp(ct, lowerBound=0) * 30 + 5, sitk.sitkInt16), "cts/mr.nii.gz")
    (tmp_path / "cts" / "damaged.nii.gz").write_bytes(b"no image")
    return tmp_path


def test_the_examples_run_as_they_stand_on_the_page(folder_with_cts, capsys):
    names: dict = {}
    examples = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)
    told = capsys.readouterr().out
    assert (folder_with_cts / "result" / "report.html").is_file()
    assert re.search(r"^liver \d+\.\d mL 0$", told, re.MULTILINE)
    assert "good.nii.gz {'liver': " in told
    assert re.search(r"^mr\.nii\.gz .*HU", told, re.MULTILINE)
    assert re.search(r"^damaged\.nii\.gz .+", told, re.MULTILINE)
    assert names["logits"].shape[1] == names["package"].task.num_classes
