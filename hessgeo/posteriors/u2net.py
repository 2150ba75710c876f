"""The U^2-Net: a U-Net whose stages are U-Nets themselves (Qin et al. 2020), here with one logit map per scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Size = Literal["full", "small", "tiny"]


@dataclass(frozen=True)
class Widths:
    """Channels of the eleven stages, each ``(inside, out)``: six of the encoder, five of the decoder, deepest first."""

    encoder: tuple[tuple[int, int], ...]
    decoder: tuple[tuple[int, int], ...]

    @classmethod
    def equal(cls, inside: int, out: int) -> Widths:
        """The same channels in every stage."""
        return cls(((inside, out),) * 6, ((inside, out),) * 5)


SIZES: dict[str, Widths] = {
    "full": Widths(  # U2NET: 44,009,869 parameters for three channels in and one map out
        encoder=((32, 64), (32, 128), (64, 256), (128, 512), (256, 512), (256, 512)),
        decoder=((256, 512), (128, 256), (64, 128), (32, 64), (16, 64)),
    ),
    "small": Widths.equal(16, 64),  # U2NETP: 1,131,181 parameters
    # PAPER: has no such size. The same topology with a quarter of U2NETP's channels, for a CPU.
    "tiny": Widths.equal(8, 16),
}
DEPTHS = (7, 6, 5, 4)  # of the nested U-Nets of the first four stages; the two deepest are dilated instead


class ConvUnit(nn.Sequential):
    """A 3 x 3 convolution, batch normalisation and a rectifier, which keep the grid's size."""

    def __init__(self, channels: int, out: int, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, out, 3, padding=dilation, dilation=dilation),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        )


class ResidualU(nn.Module):
    """RSU-L: a U-Net of ``depth`` units down and one fewer up, added to what its first unit makes of the input.

    Args:
        depth: ``L``; the units ``2 .. L - 1`` see a grid of half the size each, and unit ``L`` is dilated twice.
        channels: of the input.
        inside: of the units.
        out: of the output.
    """

    def __init__(self, depth: int, channels: int, inside: int, out: int) -> None:
        super().__init__()
        self.head = ConvUnit(channels, out)
        self.down = nn.ModuleList([ConvUnit(out if k == 0 else inside, inside) for k in range(depth - 1)])
        self.bottom = ConvUnit(inside, inside, dilation=2)
        self.up = nn.ModuleList(
            [ConvUnit(2 * inside, out if k == 0 else inside) for k in reversed(range(depth - 1))]
        )

    def forward(self, x: Float[Tensor, "n channels a b"]) -> Float[Tensor, "n out a b"]:
        """Features on the same grid, of any size."""
        x = self.head(x)
        skips: list[Tensor] = []
        y = x
        for k, unit in enumerate(self.down):
            y = unit(y if k == 0 else halve(y))
            skips.append(y)
        y = self.bottom(y)
        for unit, skip in zip(self.up, reversed(skips), strict=True):
            y = unit(torch.cat([resize(y, skip), skip], dim=1))
        return x + y


class DilatedResidualU(nn.Module):
    """RSU-4F: the same with dilations 1, 2, 4, 8 in place of halved grids.

    Args:
        channels: of the input.
        inside: of the units.
        out: of the output.
    """

    def __init__(self, channels: int, inside: int, out: int) -> None:
        super().__init__()
        self.head = ConvUnit(channels, out)
        self.down = nn.ModuleList(
            [ConvUnit(out if k == 0 else inside, inside, dilation=2**k) for k in range(3)]
        )
        self.bottom = ConvUnit(inside, inside, dilation=8)
        self.up = nn.ModuleList(
            [ConvUnit(2 * inside, out if k == 0 else inside, dilation=2**k) for k in reversed(range(3))]
        )

    def forward(self, x: Float[Tensor, "n channels a b"]) -> Float[Tensor, "n out a b"]:
        """Features on the same grid, of any size."""
        x = self.head(x)
        skips: list[Tensor] = []
        y = x
        for unit in self.down:
            y = unit(y)
            skips.append(y)
        y = self.bottom(y)
        for unit, skip in zip(self.up, reversed(skips), strict=True):
            y = unit(torch.cat([y, skip], dim=1))
        return x + y


class U2Net(nn.Module):
    """U^2-Net: six encoder and five decoder stages, a map from each of the six scales, and their fusion.

    Grids of any size from 1 x 1 on, square or not: halving rounds up and every upsampling goes to the size of
    the features it meets. Batch normalisation is the original's: a training step needs at least two samples,
    which then share their statistics, and evaluation uses running ones.

    Args:
        channels: of the input; for a bundle of images, their number times the channels of one.
        outputs: maps per scale, one for a single distribution over the grid.
        size: ``full`` (44 M parameters), ``small`` (U2NETP, 1.1 M) or ``tiny`` (ours, a tenth of that).

    Raises:
        ValueError: on an unknown size, or fewer than one channel or output.
    """

    def __init__(self, channels: int, *, outputs: int = 1, size: Size = "full") -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"size {size!r} is not one of {', '.join(SIZES)}")
        if channels < 1 or outputs < 1:
            raise ValueError(f"channels and outputs must be at least 1, not {channels} and {outputs}")
        widths = SIZES[size]
        previous = [channels, *(out for _, out in widths.encoder)]
        self.encoder = nn.ModuleList(
            [_stage(k, previous[k], *widths.encoder[k]) for k in range(len(widths.encoder))]
        )
        below = [widths.encoder[-1][1], *(out for _, out in widths.decoder)]
        beside = [out for _, out in reversed(widths.encoder[:-1])]
        self.decoder = nn.ModuleList(
            [_stage(4 - k, below[k] + beside[k], *widths.decoder[k]) for k in range(len(widths.decoder))]
        )
        self.sides = nn.ModuleList([nn.Conv2d(out, outputs, 3, padding=1) for out in below])
        self.fuse = nn.Conv2d(len(below) * outputs, outputs, 1)

    def forward(
        self, x: Float[Tensor, "n channels a b"]
    ) -> tuple[Float[Tensor, "n outputs a b"], list[Float[Tensor, "n outputs a b"]]]:
        """The fused logits, and those of the six scales, deepest first, all on the grid of the input."""
        skips: list[Tensor] = []
        y = x
        for k, stage in enumerate(self.encoder):
            y = stage(y if k == 0 else halve(y))
            skips.append(y)
        features = [skips.pop()]
        for stage in self.decoder:
            skip = skips.pop()
            features.append(stage(torch.cat([resize(features[-1], skip), skip], dim=1)))
        maps = [resize(side(y), x) for side, y in zip(self.sides, features, strict=True)]
        return self.fuse(torch.cat(maps, dim=1)), maps


def halve(x: Float[Tensor, "n c a b"]) -> Float[Tensor, "n c half_a half_b"]:
    """Largest of each 2 x 2 pixels; an odd last row or column is kept."""
    return functional.max_pool2d(x, 2, ceil_mode=True)


def resize(x: Float[Tensor, "n c a b"], like: Tensor) -> Float[Tensor, "n c like_a like_b"]:
    """Bilinear interpolation to the grid of ``like``."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def _stage(level: int, channels: int, inside: int, out: int) -> nn.Module:
    """The nested U-Net of a level: RSU-7, 6, 5, 4, then dilated ones."""
    if level < len(DEPTHS):
        return ResidualU(DEPTHS[level], channels, inside, out)
    return DilatedResidualU(channels, inside, out)
