"""Whether the files of cases still are those that a training or a comparison was begun with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.errors import CasesError

from ..cases import Case
from .ct_fingerprints import files_in, image_fingerprint

Looked = dict[str, Any]
"""Of a case, as JSON holds it: the `image_fingerprint` of its "ct" and its "label", none for what has none, and the
"state" of their files when they were read."""


def look_at(cases: Iterable[Case], before: Mapping[str, Looked]) -> dict[str, Looked]:
    """Looks at the files of cases, and compares them with what they were.

    A file of the same size and time of change is not read again.

    Args:
        cases: whose files.
        before: what an earlier call gave, by case name; empty at the first one.

    Returns:
        What to give the next call.

    Raises:
        CasesError: a CT or a label is another one than before.
    """
    return {case.name: _look_at(case, before.get(case.name, {})) for case in cases}


def unchanged(cases: Iterable[Case], before: Mapping[str, Looked]) -> bool:
    """Whether all files still have the size and time of change that `look_at` saw; quick, as nothing is read."""
    return all(before.get(case.name, {}).get("state") == _states(case) for case in cases)


def _look_at(case: Case, before: Looked) -> Looked:
    state = _states(case)
    if before.get("state") == state:
        return before
    now = {"ct": image_fingerprint(case.ct), "label": image_fingerprint(case.label)}
    for what, path in (("ct", case.ct), ("label", case.label)):
        if now[what] and before.get(what) and now[what] != before[what]:
            name = "CT" if what == "ct" else "label"
            raise CasesError(
                f"Case {case.name}: the {name} in {path} is not the one that was there when this was begun, so that "
                "what is learned and measured from now on could not be compared with what was before. Restore the "
                "file, or begin anew in another folder."
            )
    return {**{what: now[what] or before.get(what) for what in now}, "state": state}


def _states(case: Case) -> list[list[int] | None]:
    return [_state(case.ct), _state(case.label)]


def _state(path: Path) -> list[int] | None:
    """What changes with a file, or with the files of a folder; none where there is none."""
    try:
        files = [each.stat() for each in (files_in(path) if path.is_dir() else [path])]
    except OSError:
        return None
    return [len(files), sum(one.st_size for one in files), max((one.st_mtime_ns for one in files), default=0)]
