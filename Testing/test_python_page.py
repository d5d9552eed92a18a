"""The examples of docs/python.md, as they stand there, and what all pages name of the libraries."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import SimpleITK as sitk
from generated_cases import blob_case

CHECKOUT = Path(__file__).parents[1]
PAGE = CHECKOUT / "docs" / "python.md"


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


def names_of(module: str) -> set[str] | None:
    """What a module of HLFD defines, or a folder holds; None where there is neither. Needs no Slicer."""
    library, *parts = module.split(".")
    path = CHECKOUT.joinpath(library.removesuffix("Lib"), library, *parts)
    if path.is_dir():
        return {one.stem for one in path.iterdir()}
    if not path.with_suffix(".py").is_file():
        return None
    tree = ast.parse(path.with_suffix(".py").read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return defined | {target.id for node in tree.body for target in ast.walk(node) if isinstance(target, ast.Name)}


def test_what_the_docs_name_of_the_libraries_exists():
    """Most examples run in Slicer alone."""
    named = []
    for page in [CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for example in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            imports = [node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.ImportFrom)]
            named += [(page.name, f"{node.module}.{one.name}") for node in imports for one in node.names]
        named += [(page.name, name) for name in re.findall(r"`(HLFD\w+Lib(?:\.\w+)+)", text)]
    of_hlfd = [(page, name) for page, name in named if re.match(r"HLFD\w+Lib\.", name)]
    assert len(of_hlfd) > 20
    for page, name in of_hlfd:
        module, _, last = name.rpartition(".")
        assert names_of(name) is not None or last in (names_of(module) or ()), f"{page}: {name}"


def test_the_docs_name_a_file_of_the_libraries_with_its_folder():
    """Nobody finds it otherwise, and what is said of it is not looked for in the files."""
    files = [path for library in CHECKOUT.glob("HLFD*/HLFD*Lib") for path in library.glob("*/*.py")]
    inside = {path.stem: names_of(".".join((*path.parts[-3:-1], path.stem))) or set() for path in files}
    for page in [CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md")]:
        for stem, name in re.findall(r"`(\w+)\.(\w+)", page.read_text(encoding="utf-8")):
            assert name != "py" or stem not in inside, f"{page.name}: {stem}.{name}"
            assert name not in inside.get(stem, ()), f"{page.name}: {stem}.{name}"
