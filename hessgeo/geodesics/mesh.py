"""How curves are cut into segments: many curves one after another, each with as many segments as it needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Mesh:
    """Segments of curves, sorted by curve; a curve of ``k`` segments has ``k + 1`` points.

    Attributes:
        curve: that each segment belongs to, from 0, none without a segment.
        width: of each segment in the parameter of its curve, which runs from 0 to 1.
        count: number of curves.
    """

    curve: Int[Tensor, "s"]
    width: Float[Tensor, "s"]
    count: int

    @classmethod
    def even(cls, count: int, segments: int, like: Tensor) -> Mesh:
        """As many segments in every curve, all as wide as one another."""
        curve = torch.arange(count, device=like.device).repeat_interleave(segments)
        return cls(curve, like.new_full((count * segments,), 1 / segments), count)

    @cached_property
    def first(self) -> Int[Tensor, "s"]:
        """The point that each segment starts from; it ends at the next."""
        return torch.arange(len(self.curve), device=self.curve.device) + self.curve

    @cached_property
    def segments(self) -> Int[Tensor, "m"]:
        """Number of segments of each curve."""
        return torch.bincount(self.curve, minlength=self.count)

    @cached_property
    def of_point(self) -> Int[Tensor, "p"]:
        """The curve of each point."""
        every = torch.arange(self.count, device=self.curve.device)
        return every.repeat_interleave(self.segments + 1)

    @cached_property
    def edge(self) -> Bool[Tensor, "p"]:
        """Whether a point is the end of a curve."""
        last = (self.segments + 1).cumsum(0) - 1
        ends = torch.cat([last, last - self.segments])
        return torch.zeros_like(self.of_point, dtype=torch.bool).index_fill(0, ends, True)

    def total(self, values: Float[Tensor, "s"]) -> Float[Tensor, "m"]:
        """Sum over the segments of each curve."""
        return values.new_zeros(self.count).index_add_(0, self.curve, values)

    def to_points(self, first: Float[Tensor, "s c"], last: Float[Tensor, "s c"]) -> Float[Tensor, "p c"]:
        """Sum, at each point, over the segment that starts and the one that ends there."""
        zeros = first.new_zeros(len(self.of_point), first.shape[1])
        return zeros.index_add_(0, self.first, first).index_add_(0, self.first + 1, last)

    def kept(self, curves: Bool[Tensor, "m"]) -> tuple[Mesh, Bool[Tensor, "s"], Bool[Tensor, "p"]]:
        """The mesh of some curves, and which segments and points are theirs."""
        segments, number = curves[self.curve], curves.cumsum(0) - 1
        mesh = Mesh(number[self.curve[segments]], self.width[segments], int(curves.sum()))
        return mesh, segments, curves[self.of_point]
