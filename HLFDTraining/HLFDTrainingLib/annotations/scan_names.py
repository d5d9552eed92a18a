"""Names of cases that seem to be those of several scans of one patient."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from ..split import OfPatient

LAST_PART = re.compile(r"[_ -][^_ -]+$")
OF_A_SCAN = re.compile(r"[_ -][^\W\d_]+\d?$")
"""Ends of names: any, and one that tells a patient's scans apart, as "arterial" or "fu2". Patients have numbers."""

MOST_SCANS = 6
"""Of one patient, about. More cases whose names begin alike are a list of patients, as "CT_Adams", "CT_Baker"."""

MOST_PATIENTS = 4

ONE_PATIENT = (
    "Give the scans of one patient the same patient (in files: 'patient' in a cases.json). Nothing, if these are "
    "different people."
)
"""What to do where names are alike."""


def names_alike_problem(cases: Iterable[OfPatient]) -> str:
    """A sentence where cases that are patients of their own are named as scans of one; "" where none are."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted({case.name for case in cases if case.patient == case.name}):
        alike[LAST_PART.sub("", name).casefold()].append(name)
    scans = [names for names in alike.values() if 1 < len(names) <= MOST_SCANS and any(map(OF_A_SCAN.search, names))]
    if not scans:
        return ""
    shown = [" and ".join(names) for names in scans[:MOST_PATIENTS]]
    listed = "; ".join(shown + ["..."] * (len(scans) > MOST_PATIENTS))
    return (
        f"Names differ in their last part alone: {listed}. They are taken for different patients: one may be learned "
        "from and the other tested on."
    )
