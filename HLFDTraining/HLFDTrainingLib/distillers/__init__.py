"""The distillation methods, by name. One file a method; how to add one is told in docs/distillation.md."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from HLFDSegmentationLib.errors import TrainingError
from torch import nn

from .at import AT
from .distiller import Distiller
from .dkd import DKD
from .emkd import EMKD
from .hifd import HIFD
from .hlfd import HLFD, FullHLFD, ReleasedHLFD
from .kd import KD
from .none import NoDistillation
from .skd import SKD
from .unified_head import UnifiedHead

DISTILLERS: dict[str, type[Distiller]] = {
    "none": NoDistillation,
    "kd": KD,
    "at": AT,
    "skd": SKD,
    "dkd": DKD,
    "hifd": HIFD,
    "emkd": EMKD,
    "hlfd": HLFD,
    "hlfd:corrected": HLFD,
    "hlfd:full": FullHLFD,
    "hlfd:released": ReleasedHLFD,
}
"""What follows a colon is the variant of a method."""


def find_distiller(name: str, variant: str | None = None) -> type[Distiller]:
    """The method of this name, "hlfd:full" being the same as "hlfd" with the variant "full".

    Raises:
        TrainingError: there is no such method.
    """
    key = f"{name}:{variant}" if variant else name
    if "=" in key:
        raise TrainingError(
            f"'{key}' names a method with options, which `hlfd compare` takes. Here, name the method alone: one of "
            f"{', '.join(DISTILLERS)}."
        )
    if key not in DISTILLERS:
        raise TrainingError(f"There is no distillation method '{key}'. Use one of {', '.join(DISTILLERS)}.")
    return DISTILLERS[key]


def written(name: str, options: Mapping[str, Any]) -> str:
    """A method as `hlfd compare` takes it, without options that have their default: "hlfd:full:beta=0.5".

    Raises:
        TrainingError: there is no such method.
    """
    variant = options.get("variant")
    usual = signature(find_distiller(name, variant)).parameters
    told = (
        f"{option}={value}".replace(",", "+")
        for option, value in options.items()
        if option != "variant" and not (option in usual and usual[option].default == value)
    )
    return ":".join([name, *([variant] if variant else []), *told])


def needs_teacher(name: str, options: Mapping[str, Any]) -> bool:
    """Whether the method, with these options, needs a trained teacher."""
    return find_distiller(name, options.get("variant")).needs_teacher


def needs_unified_head(name: str, options: Mapping[str, Any]) -> bool:
    """Whether the method, with these options, needs the teacher's `UnifiedHead`, trained."""
    return find_distiller(name, options.get("variant")).needs_unified_head


def build_distiller(
    name: str,
    student: nn.Module,
    teacher: nn.Module | None,
    num_classes: int,
    *,
    unified_head: UnifiedHead | None = None,
    variant: str | None = None,
    **options: Any,
) -> Distiller:
    """The method with its networks.

    Args:
        name: one of `DISTILLERS`.
        student: the network that learns.
        teacher: the trained network that teaches, frozen from now on; ignored by a method without a teacher.
        num_classes: of both networks, the background included.
        unified_head: the teacher's, trained, frozen from now on; ignored by a method that does not need it.
        variant: of the method; see `find_distiller`.
        options: arguments of the method's class, such as `temperature`, or HLFD's `beta`, `lambda_` and `resize`.

    Raises:
        TrainingError: no such method or option; something that the method needs was not given.
    """
    method = find_distiller(name, variant)
    unknown = set(options) - set(signature(method).parameters)
    if unknown:
        raise TrainingError(
            f"The distillation method '{name}' has no option '{min(unknown)}'. "
            "docs/distillation.md tells which options the methods have."
        )
    return method(student, teacher, num_classes, unified_head=unified_head, **options)
