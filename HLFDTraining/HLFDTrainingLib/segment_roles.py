"""Which label of a task a segment is, guessed from its codes and its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from HLFDSegmentationLib.tasks import KIDNEY, LIVER, Label, Task

Kind = Literal["organ", "tumor", "other"]


def words_in(text: str) -> frozenset[str]:
    """The words that spaces separate."""
    return frozenset(text.split())


GENERIC_TYPES = {"85756007", "T-D0050"}
"""Codes that say nothing: "Tissue" is what Slicer gives to every new segment, in older files by its older code."""

TUMOR_TYPES = {"4147007", "52988006", "108369006", "86049000", "14799000", "M-03000", "M-80003", "M-80006"}
"""Mass, lesion, neoplasm, primary and secondary neoplasm in SNOMED CT, and mass and neoplasms in its older form."""

CYST_TYPES = {"367643001"}

SAME_ORGAN = {
    "18639004": (KIDNEY.value, "left"),
    "9846003": (KIDNEY.value, "right"),
    "T-71000": (KIDNEY.value, None),
    "T-62000": (LIVER.value, None),
}
"""Other codes of an organ, with the side that they name."""

SIDES = {"7771000": "left", "24028007": "right"}

ORGAN_WORDS = {
    KIDNEY.value: words_in("kidney kidneys renal rcc ccrcc"),
    LIVER.value: words_in("liver hepatic hcc hepatocellular"),
}
TUMOR_WORDS = words_in(
    "tumor tumors tumour tumours lesion lesions mass masses cancer carcinoma neoplasm malignancy metastasis metastases "
    "met mets hcc rcc ccrcc hepatocellular"
)
CYST_WORDS = words_in("cyst cysts")
ABSENCE_WORDS = words_in("without no non not free minus excluding excl except healthy normal ohne sans sin senza")
SKIPPED_WORDS = words_in("a an the any left right")
"""They may stand between a word of absence and the tumor, as do the organs' names: "liver without any liver tumor"."""

TOGETHER_WORDS = words_in("with and incl including plus w")
SIGNS = {"w/o": "without", "w/": "with", "+": "plus", "&": "and"}
"""What stands for a word in names."""

BESIDE_TUMOR = words_in(
    "left right small large big main benign malignant primary secondary target index new recurrent residual colorectal "
    "segment segments seg lobe arterial venous phase label mask annotation contour manual final reader"
)
"""Words that leave a tumor what it is. Others, as in "tumor bed" or "tumor margin", may make something else of it."""

SHORT = 2
"""Letters of words that leave a tumor what it is, too: "lesion A", "HCC IV", "tumor 5 mm"."""

OTHER_WORDS = words_in(
    "vein veins vena artery arteries aorta vessel vessels portal duct ducts pelvis ureter fat adrenal suprarenal gland "
    "lung lungs pulmonary spleen splenic pancreas pancreatic bone bones brain colon bowel stomach bladder gallbladder "
    "prostate breast lymph node nodes body skin background thrombus stent"
)
KNOWN_WORDS = frozenset().union(*ORGAN_WORDS.values(), TUMOR_WORDS, CYST_WORDS)


@dataclass(frozen=True)
class SceneSegment:
    """A segment of the scene.

    Attributes:
        id: of the segment.
        name: what the user reads.
        terminology: its codes, as Slicer stores them in one string; empty where there are none.
        empty: whether nothing is drawn in it.
    """

    id: str
    name: str
    terminology: str = ""
    empty: bool = False


@dataclass(frozen=True)
class _Clue:
    """What codes or a name say of a segment; no organs where they name none of the task's."""

    kind: Kind | None
    organs: frozenset[str] = frozenset()

    def joined(self, other: _Clue) -> _Clue:
        """What both say together; something else where they contradict each other, for the user to look at."""
        if self.kind and other.kind and self.kind != other.kind:
            return _Clue("other")
        organs = self.organs & other.organs if self.organs and other.organs else self.organs | other.organs
        if self.organs and other.organs and not organs:
            return _Clue("other")
        return _Clue(self.kind or other.kind, organs)


def guess_roles(segments: Sequence[SceneSegment], task: Task) -> dict[str, str | None]:
    """For each segment, by its id, the name of the task's label that it is, or none where that is not plain.

    Several segments may be one label, as the left and the right kidney. Codes count first, then words of the name;
    where they contradict each other, nothing is guessed. A tumor that names no organ belongs to the only one that the
    segments show.
    """
    clues = {segment.id: _clue(segment, task) for segment in segments}
    shown = frozenset(name for clue in clues.values() if clue.kind == "organ" for name in clue.organs)
    return {id_: _label(clue, shown, task) for id_, clue in clues.items()}


def looks_like_tumor(segment: SceneSegment) -> bool:
    """Whether codes or name speak of a tumor, in whatever organ."""
    words = _words(segment.name)
    named = bool(words & TUMOR_WORDS) and not _denies_tumor(segment.name)
    return _Codes(segment.terminology).type in TUMOR_TYPES or named


def _label(clue: _Clue, shown: frozenset[str], task: Task) -> str | None:
    organs = clue.organs
    if clue.kind == "tumor" and not organs:
        organs = shown or frozenset(organ.name for organ in task.organs)
    found = [organ for organ in task.organs if organ.name in organs]
    if clue.kind == "tumor":
        found = [tumor for organ in found for tumor in task.tumors_of(organ)]
    return found[0].name if len(found) == 1 and clue.kind in ("organ", "tumor") else None


def _clue(segment: SceneSegment, task: Task) -> _Clue:
    for label in task.labels:
        if segment.name.strip().casefold() == label.name.casefold():
            named = _Clue(label.role, frozenset({task.organ_of(label).name}))
            break
    else:
        named = _clue_of_name(segment.name, task)
    return _clue_of_codes(segment, task).joined(named)


# Codes


class _Codes:
    """The codes in the terminology string of a segment."""

    def __init__(self, terminology: str) -> None:
        parts = [part.split("^") for part in terminology.split("~")]
        values = [part[1] if len(part) > 1 else "" for part in parts] + [""] * 7
        self.type, type_modifier = values[2], values[3]
        self.region, region_modifier = values[5], values[6]
        self.side = SIDES.get(type_modifier) or SIDES.get(region_modifier)


def _clue_of_codes(segment: SceneSegment, task: Task) -> _Clue:
    codes = _Codes(segment.terminology)
    if not codes.type or codes.type in GENERIC_TYPES:
        return _Clue(None)
    if codes.type in TUMOR_TYPES | CYST_TYPES:
        kind: Kind = "tumor" if codes.type in TUMOR_TYPES else "organ"  # docs/cases.md: a cyst counts as its organ
        if not codes.region:
            return _Clue(kind if kind == "tumor" else "other")
        organs = _organs_of_code(codes.region, codes.side or _side(segment.name), task)
        return _Clue(kind, organs) if organs else _Clue("other")
    organs = _organs_of_code(codes.type, codes.side or _side(segment.name), task)
    return _Clue("organ", organs) if organs else _Clue("other")


def _organs_of_code(code: str, side: str | None, task: Task) -> frozenset[str]:
    organ, side_of_code = SAME_ORGAN.get(code, (code, None))
    return _on_side([label for label in task.organs if label.type.value in (code, organ)], side or side_of_code)


def _on_side(organs: Sequence[Label], side: str | None) -> frozenset[str]:
    return frozenset(organ.name for organ in organs if None in (side, _side(organ.name)) or _side(organ.name) == side)


# Words


def _words(name: str) -> set[str]:
    """The words of a name, lowercase; "LiverTumor", "liver_tumor" and "livertumor" have the same."""
    return set(_words_in_order(name))


def _words_in_order(name: str) -> list[str]:
    for sign, word in SIGNS.items():
        # "new/old" is none.
        name = re.sub(rf"(?<![^\W\d_]){re.escape(sign)}", f" {word} ", name, flags=re.IGNORECASE)
    found = re.findall(r"[^\W\d_a-z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])", name)
    return [part for word in found for part in _parts(word.lower())]


def _parts(word: str) -> list[str]:
    for length in range(3, len(word) - 2):
        if word[:length] in KNOWN_WORDS and word[length:] in KNOWN_WORDS:
            return [word[:length], word[length:]]
    return [word]


def _denies_tumor(name: str) -> bool:
    """Whether a name says that there is no tumor, or cyst, in what it names: "liver without tumor", "tumor-free"."""
    skipped = SKIPPED_WORDS.union(*ORGAN_WORDS.values()) - TUMOR_WORDS
    listed = [word for word in _words_in_order(name) if word not in skipped]
    here = TUMOR_WORDS | CYST_WORDS
    return any(
        (one in ABSENCE_WORDS and other in here) or (one in here and other == "free") for one, other in pairwise(listed)
    )


def _side(name: str) -> str | None:
    sides = {"left", "right"} & _words(name)
    return sides.pop() if len(sides) == 1 else None


def _clue_of_name(name: str, task: Task) -> _Clue:
    words = _words(name)
    organs = _on_side([organ for organ in task.organs if _named(organ, words)], _side(name))
    if _names_another(words, task):
        return _Clue("other")
    tumor, cyst = bool(words & TUMOR_WORDS), bool(words & CYST_WORDS)
    if (tumor or cyst) and words & ABSENCE_WORDS:
        return _Clue("organ", organs) if organs and _denies_tumor(name) else _Clue("other")
    if (tumor and cyst) or ((tumor or cyst) and organs and words & TOGETHER_WORDS):
        return _Clue("other")
    if tumor and _unknown(words, task):
        return _Clue("other")
    if tumor:
        return _Clue("tumor", organs)
    if organs:
        return _Clue("organ", organs)
    return _Clue(None)


def _unknown(words: set[str], task: Task) -> set[str]:
    """The words that may make something else of a tumor."""
    known = set().union(KNOWN_WORDS, BESIDE_TUMOR, *(_words(label.name) for label in task.labels))
    return {word for word in words - known if len(word) > SHORT and not re.fullmatch("[ivx]+", word)}


def _named(organ: Label, words: set[str]) -> bool:
    own = _words(organ.name) - {"left", "right"}
    return bool(ORGAN_WORDS.get(organ.type.value, set()) & words) or (bool(own) and own <= words)


def _names_another(words: set[str], task: Task) -> bool:
    """Whether the words name something that the task does not have."""
    codes = {organ.type.value for organ in task.organs}
    others = set().union(OTHER_WORDS, *(known for code, known in ORGAN_WORDS.items() if code not in codes))
    others -= set().union(*(_words(label.name) for label in task.labels))
    return bool(words & others)
