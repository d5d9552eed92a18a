"""HLFD: Hierarchical Layer-selective Feedback Distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from HLFDSegmentationLib.errors import TrainingError
from torch import nn

from ..losses import TEMPERATURE, softened_divergence
from .constants import Constant, Size
from .distiller import Distiller
from .edges import FEATURE_WEIGHT, LAST_LAYER_ATTENTION, OUT, OUTPUT_PREDICTION, PIXEL_WEIGHT, Edge
from .resizing import on_grid
from .unified_head import UnifiedHead

UNIFIED_FEATURES = Edge(
    "ufd_encoder1", "attention", "encoder1", ("encoder2", "encoder3", "encoder4"), weight=0.5, grid="student"
)
INDIVIDUAL_FEATURES = tuple(
    Edge(f"ifd_{layer}", "attention", layer, ("encoder5",), weight=0.5)
    for layer in ("encoder2", "encoder3", "encoder4")
)
UNIFIED_PREDICTION = Edge("upd_decoder5", "prediction", "decoder5", UnifiedHead.LAYERS, weight=0.5, grid="student")
INDIVIDUAL_PREDICTIONS = tuple(
    Edge(f"ipd_{layer}", "prediction", layer, (OUT,), weight=0.5) for layer in ("decoder4", "decoder3", "decoder2")
)

TERMS = ("ufd", "ifd", "upd", "ipd")
"""With these and an underscore begin the names of the edges above."""


class HLFD(Distiller):
    """The teacher's middle layers teach the student's first layer; its last layers teach the student's middle ones.

        L    = L_seg + beta FLFD + lambda PLFD
        FLFD = 1/2 UFD + 1/2 IFD
        UFD  = AT(s.e1, unify[t.e2, t.e3, t.e4])
        IFD  = AT(s.e2, t.e5) + AT(s.e3, t.e5) + AT(s.e4, t.e5)
        PLFD = 1/2 UPD + 1/2 IPD
        UPD  = KD(Q(s.d5), H(unify[t.d5, t.d4, t.d3]))
        IPD  = KD(Q(s.d4), t.out) + KD(Q(s.d3), t.out) + KD(Q(s.d2), t.out)

    Q is a 1x1 convolution to the classes for each layer, trained with the student; H is the `UnifiedHead`.

    Gorade, Mittal, Jha, Bagci: Rethinking Intermediate Layers design in Knowledge Distillation for Kidney and Liver
    Tumor Segmentation, ISBI 2024, arXiv 2311.16700. These are the terms of its released code with the projections made
    sound; `ReleasedHLFD` has them as released.

    Args:
        beta: weight of the feature level.
        lambda_: weight of the pixel level.
        resize: "released" compares at the resolution that the released code does (UFD and UPD: the student's; IFD and
            IPD: the teacher's); "smaller" at the smaller of the two.
        terms: which of UFD, IFD, UPD and IPD are there, joined by commas; the others are left out and change no weight.

    The other arguments are those of `Distiller`.
    """

    needs_unified_head = True
    feature_edges: tuple[Edge, ...] = (UNIFIED_FEATURES, *INDIVIDUAL_FEATURES)
    pixel_edges: tuple[Edge, ...] = (UNIFIED_PREDICTION, *INDIVIDUAL_PREDICTIONS)

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None,
        num_classes: int,
        *,
        unified_head: UnifiedHead | None = None,
        beta: float = FEATURE_WEIGHT,
        lambda_: float = PIXEL_WEIGHT,
        temperature: float = TEMPERATURE,
        resize: Literal["released", "smaller"] = "released",
        terms: str = ",".join(TERMS),
    ) -> None:
        if resize not in ("released", "smaller"):
            raise TrainingError(f"HLFD knows no resize '{resize}'. Use 'released' or 'smaller'.")
        left_out = tuple(f"{term}_" for term in _left_out(terms))
        edges = _weighted(self.feature_edges, beta) + _weighted(self.pixel_edges, lambda_)
        edges = tuple(edge for edge in edges if not edge.name.startswith(left_out))
        if resize == "smaller":
            edges = tuple(replace(edge, grid="smaller") for edge in edges)
        self.edges = edges
        super().__init__(student, teacher, num_classes, unified_head=unified_head, temperature=temperature)


class FullHLFD(HLFD):
    """HLFD with the two terms that its baselines have and it has not.

    FLFD gains AT(s.e5, t.e5) and PLFD gains KD(s.out, t.out), each with weight 1 inside.
    """

    feature_edges = (*HLFD.feature_edges, replace(LAST_LAYER_ATTENTION, weight=1.0))
    pixel_edges = (*HLFD.pixel_edges, replace(OUTPUT_PREDICTION, weight=1.0))


class ReleasedHLFD(HLFD):
    """HLFD as its released code computes it, to be measured against `HLFD`.

    Its pixel level projects by 1x1 convolutions drawn at random anew on every call, from torch's global random numbers:
    in UPD the teacher's unified layers to the student's channels, in IPD the student's layers to the classes. Nothing
    trains them. It reshapes the C channels of a prediction to rows of two, so its mean over pixels comes out 2/C times
    as large. The feature level is that of `HLFD`. The segmentation term is this project's in every method.
    """

    needs_unified_head = False

    def projected_channels(self, edge: Edge, student: Mapping[str, int], teacher: Mapping[str, int]) -> None:
        """No projection lasts."""
        return None

    def constant_of(self, edge: Edge, student_size: Size) -> Constant:
        """UPD needs the teacher's unified layers, because their projection is another one on every call."""
        if edge.level == "prediction" and len(edge.teacher) > 1:
            return Constant("features", edge.teacher)
        return super().constant_of(edge, student_size)

    def prediction_loss(self, edge: Edge, learns: torch.Tensor, teaches: torch.Tensor) -> torch.Tensor:
        """KD through a random projection, scaled by 2/C."""
        if len(edge.teacher) > 1:
            with torch.no_grad():
                teaches = _randomly_projected(teaches, learns.shape[1])
        else:
            learns = _randomly_projected(learns, self.num_classes)
        divergence = softened_divergence(*on_grid(learns, teaches, edge.grid), self.temperature)
        return divergence * 2 / learns.shape[1]


def _left_out(terms: str) -> list[str]:
    """The terms that are not among those chosen."""
    chosen = [term.strip() for term in terms.split(",")]
    unknown = [term for term in chosen if term not in TERMS]
    if unknown:
        raise TrainingError(
            f"HLFD has no term '{unknown[0]}'. Name some of {', '.join(TERMS)}, joined by commas. For none of them "
            "there is the method 'none'."
        )
    return [term for term in TERMS if term not in chosen]


def _weighted(edges: tuple[Edge, ...], weight: float) -> tuple[Edge, ...]:
    return tuple(replace(edge, weight=edge.weight * weight) for edge in edges)


def _randomly_projected(features: torch.Tensor, channels: int) -> torch.Tensor:
    return nn.Conv2d(features.shape[1], channels, 1, device=features.device)(features)
