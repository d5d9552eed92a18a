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
LESION_WORDS = TUMOR_WORDS | CYST_WORDS
PERHAPS_TUMOR = words_in("nodule nodules aml ccc crlm sol ca tu herd herde läsion läsionen metastase metastasen")
"""Beside those that end as "oncocytoma", "Karzinom" and "nephroblastome" do. Not guessed, but to be asked about."""

ABSENCE_WORDS = words_in("without wo no non not free minus excluding excl except outside ohne sans sin senza")
SKIPPED_WORDS = words_in("a an the any left right")
"""They may stand between a word of absence and the tumor, as do the organs' names: "liver without any liver tumor"."""

TOGETHER_WORDS = words_in("with and incl including plus w und u et y dash")
SIGNS = {
    r"(?<![^\W\d_])w/o": "without",  # "new/old" is none
    r"(?<![^\W\d_])w/": "with",
    r"\+": "plus",
    "&": "and",
    r"\s-\s|−": "dash",
}
"""What stands for a word in names. A dash may mean without, or nothing."""

BESIDE_TUMOR = words_in(
    "left right small large largest big main dominant all multiple one two three four benign malignant primary "
    "secondary target index new recurrent residual colorectal clear cell papillary chromophobe solid exophytic "
    "endophytic hypodense hyperdense enhancing segment segments seg lobe couinaud caudate dome pole upper lower ant "
    "anterior post posterior lateral medial central peripheral links rechts arterial venous phase baseline confirmed "
    "proven biopsy lirads label mask roi volume annotation contour manual corrected final reader "
    "jan feb mar apr may jun jul aug sep oct nov dec"
)
"""Words that leave a tumor what it is. Others, as in "tumor bed" or "tumor margin", may make something else of it."""

BESIDE_ORGAN = BESIDE_TUMOR - {"roi"} | words_in(
    "both whole total entire parenchyma tissue normal healthy cortex native transplant remnant copy auto segmentation"
)
"""Words that leave an organ what it is."""

SHORT = 2
"""Letters of words that leave a tumor what it is, too: "lesion A", "HCC IV", "tumor 5 mm"."""

OTHER_WORDS = words_in(
    "vein veins vena artery arteries aorta vessel vessels portal duct ducts pelvis ureter fat adrenal suprarenal gland "
    "lung lungs pulmonary spleen splenic pancreas pancreatic bone bones brain colon bowel stomach bladder gallbladder "
    "prostate breast lymph node nodes body skin background thrombus stent"
)
KNOWN_WORDS = frozenset().union(*ORGAN_WORDS.values(), LESION_WORDS)
PLAIN_ORGAN_WORDS = frozenset().union(*ORGAN_WORDS.values()) - TUMOR_WORDS
"""Those that speak of no tumor as well, as "hcc" does."""


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
    listed = _words_in_order(segment.name)
    denied = _denied(listed)
    named = any(
        word in TUMOR_WORDS or _is_perhaps_tumor(word) for place, word in enumerate(listed) if place not in denied
    )
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
        name = re.sub(sign, f" {word} ", name, flags=re.IGNORECASE)
    found = re.findall(r"[^\W\d_a-z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])", name)
    return [part for word in found for part in _parts(word.lower())]


def _parts(word: str) -> list[str]:
    for length in range(3, len(word) - 2):
        if word[:length] in KNOWN_WORDS and word[length:] in KNOWN_WORDS:
            return [word[:length], word[length:]]
    return [word]


def _denied(listed: Sequence[str]) -> set[int]:
    """Where the words of tumors and cysts stand that a name denies: "liver without tumor", "tumor-free liver"."""
    said = [place for place, word in enumerate(listed) if word not in SKIPPED_WORDS | PLAIN_ORGAN_WORDS]
    after_absence = {
        place for before, place in pairwise(said) if listed[before] in ABSENCE_WORDS and listed[place] in LESION_WORDS
    }
    before_free = {
        place
        for place, word in enumerate(listed)
        if word in LESION_WORDS
        and listed[place + 1 : place + 2] == ["free"]
        and PLAIN_ORGAN_WORDS.issuperset(listed[place + 2 : place + 3])
    }
    return after_absence | before_free


def _side(name: str) -> str | None:
    sides = {"left", "right"} & _words(name)
    return sides.pop() if len(sides) == 1 else None


def _clue_of_name(name: str, task: Task) -> _Clue:
    listed = _words_in_order(name)
    words = set(listed)
    organs = _organs_named(words, name, task)
    if _names_another(words, task):
        return _Clue("other")
    if words & ABSENCE_WORDS:
        return _clue_of_denial(listed, name, task)
    tumor, cyst = bool(words & TUMOR_WORDS), bool(words & CYST_WORDS)
    if (tumor and cyst) or ((tumor or cyst) and organs and words & TOGETHER_WORDS):
        return _Clue("other")
    perhaps = {word for word in words if _is_perhaps_tumor(word)}
    if tumor:
        return _Clue("other") if _unknown(words - perhaps, BESIDE_TUMOR, task) else _Clue("tumor", organs)
    if organs:
        return _Clue("other") if perhaps or _unknown(words, BESIDE_ORGAN, task) else _Clue("organ", organs)
    return _Clue(None)


def _clue_of_denial(listed: Sequence[str], name: str, task: Task) -> _Clue:
    """Of a name that denies something: the organ, where it denies all tumors and cysts that it speaks of."""
    denied = _denied(listed)
    spoken_of = {place for place, word in enumerate(listed) if word in LESION_WORDS}
    organs = _organs_named(set(listed) - TUMOR_WORDS, name, task)
    return _Clue("organ", organs) if organs and denied and denied == spoken_of else _Clue("other")


def _organs_named(words: set[str], name: str, task: Task) -> frozenset[str]:
    return _on_side([organ for organ in task.organs if _named(organ, words)], _side(name))


def _unknown(words: set[str], harmless: frozenset[str], task: Task) -> set[str]:
    """The words that may make something else of a tumor, or of an organ."""
    known = set().union(KNOWN_WORDS, harmless, *(_words(label.name) for label in task.labels))
    return {word for word in words - known if len(word) > SHORT and not re.fullmatch("[ivx]+", word)}


def _is_perhaps_tumor(word: str) -> bool:
    return word in PERHAPS_TUMOR or bool(re.fullmatch(r"\w{3,}(om|oma|omas|omata|ome|omes|omen)", word))


def _named(organ: Label, words: set[str]) -> bool:
    own = _words(organ.name) - {"left", "right"}
    return bool(ORGAN_WORDS.get(organ.type.value, set()) & words) or (bool(own) and own <= words)


def _names_another(words: set[str], task: Task) -> bool:
    """Whether the words name something that the task does not have."""
    codes = {organ.type.value for organ in task.organs}
    others = set().union(OTHER_WORDS, *(known for code, known in ORGAN_WORDS.items() if code not in codes))
    others -= set().union(*(_words(label.name) for label in task.labels))
    return bool(words & others)
