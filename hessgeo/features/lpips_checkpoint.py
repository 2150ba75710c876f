"""The weights of LPIPS before they are read: which tensors of a file they are, from its header alone."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from hessgeo.features.base import FeatureCheckpoint
from hessgeo.features.shrunk import shrunk
from hessgeo.weights.headers import shown_name
from hessgeo.weights.read import tensor_header
from hessgeo.weights.tensor_kinds import refuse_kinds

if TYPE_CHECKING:
    from hessgeo.features.lpips import LpipsFeatures

# Where the thirteen convolutions stand among the layers of torchvision's VGG-16, in its five blocks.
BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
SMALLEST = 16  # pixels along a side: images are halved four times before the last block

# Names of torchvision, of its features alone, and of the package lpips.
_CONVOLUTION = re.compile(r"(?:features\.|net\.slice[1-5]\.)?(\d+)\.(weight|bias)")
_LINEAR = re.compile(r"lin([0-4])\.model\.1\.weight")
# The classifier of VGG-16, and what lpips keeps twice or as constants.
_UNREAD = re.compile(
    r"classifier\.\d\.(weight|bias)|lins\.[0-4]\.model\.1\.weight|scaling_layer\.(shift|scale)"
)

Names = dict[str, str]


def convolution_names(path: str | Path) -> tuple[Names, tuple[int, ...]]:
    """The tensors of the convolutions in a file, and how many channels each convolution has.

    Args:
        path: weights of VGG-16 in safetensors, by the names of torchvision (``features.0.weight``), of its features
            alone (``0.weight``), or of the package lpips (``net.slice1.0.weight``), with or without the
            classifier and the linear weights; nothing else may be there.

    Returns:
        Name in the file of each ``<layer>.weight`` and ``<layer>.bias``, and the channels, 64 to 512 in the published
        network.

    Raises:
        ValueError: as ``tensor_header``; one line that names the tensor that is missing or has another shape.
    """
    shapes = _shapes(path)
    used = {f"{layer}.{part}" for block in BLOCKS for layer in block for part in ("weight", "bias")}
    names: dict[str, str] = {}
    for name in shapes:
        key = ".".join(match.groups()) if (match := _CONVOLUTION.fullmatch(name)) else None
        if key not in used and not _LINEAR.fullmatch(name) and not _UNREAD.fullmatch(name):
            raise ValueError(f"{path} holds {shown_name(name)}, which neither VGG-16 nor LPIPS has")
        if key is not None and names.setdefault(key, name) != name:
            raise ValueError(f"{path} holds {shown_name(name)} beside {shown_name(names[key])}")
    widths: list[int] = []
    for layer in (layer for block in BLOCKS for layer in block):
        for part in ("weight", "bias"):
            if f"{layer}.{part}" not in names:
                raise ValueError(f"{path} has no tensor features.{layer}.{part}, not the weights of VGG-16")
        weight, bias = (shapes[names[f"{layer}.{part}"]] for part in ("weight", "bias"))
        expected = (*weight[:1], widths[-1] if widths else 3, 3, 3)
        if weight != expected or bias != weight[:1]:
            name = names[f"{layer}.weight"]
            raise ValueError(f"{path} holds a {weight} tensor {name} with a bias {bias}, not that of VGG-16")
        widths.append(weight[0])
    return names, tuple(widths)


def _shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    header = tensor_header(path)
    refuse_kinds(header)
    return header.shapes


def linear_names(path: str | Path, channels: tuple[int, ...]) -> list[str]:
    """The tensors of the linear weights of LPIPS in a file, one for each block; none if it holds no such tensor.

    Args:
        path: a safetensors file by the names of the package lpips, ``lin0.model.1.weight`` to ``lin4.model.1.weight``.
        channels: of the five blocks.

    Raises:
        ValueError: as ``tensor_header``; one line that names the tensor that is missing or has another shape.
    """
    shapes = _shapes(path)
    for name in shapes:
        if not any(pattern.fullmatch(name) for pattern in (_LINEAR, _CONVOLUTION, _UNREAD)):
            raise ValueError(f"{path} holds {shown_name(name)}, which LPIPS has not")
    if not any(map(_LINEAR.fullmatch, shapes)):
        return []
    names = [f"lin{k}.model.1.weight" for k in range(len(BLOCKS))]
    for name, width in zip(names, channels, strict=True):
        if name not in shapes:
            raise ValueError(f"{path} has no tensor {name}, not all linear weights of LPIPS")
        if shapes[name] != (1, width, 1, 1):
            raise ValueError(f"{path} holds a {shapes[name]} tensor {name}, must be {(1, width, 1, 1)}")
    return names


def block_channels(widths: tuple[int, ...]) -> tuple[int, ...]:
    """Channels at the end of each of the five blocks, of those of the thirteen convolutions."""
    ends = [sum(map(len, BLOCKS[: k + 1])) - 1 for k in range(len(BLOCKS))]
    return tuple(widths[end] for end in ends)


class LpipsCheckpoint(FeatureCheckpoint):
    """The features of LPIPS in local files.

    Args:
        network: weights of VGG-16, see ``convolution_names``; of a file of all of LPIPS its linear weights too.
        linear: a file of linear weights, see ``linear_names``; None for those of the network's file, or one each.
        size: larger images are shrunk to this many pixels along the shorter side, see ``LpipsFeatures``.
    """

    def __init__(
        self, network: str | Path, linear: str | Path | None = None, *, size: int | None = None
    ) -> None:
        self.network, self.linear, self.size = network, linear, size

    def check(self) -> None:
        """See ``FeatureCheckpoint``."""
        channels = self.channels
        own = linear_names(self.network, channels)
        if self.linear is None:
            return
        if not linear_names(self.linear, channels):
            raise ValueError(f"{self.linear} has no tensor lin0.model.1.weight, no linear weights of LPIPS")
        if own:
            raise ValueError(f"{self.network} has linear weights of its own")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels at the end of each of the five blocks."""
        return block_channels(convolution_names(self.network)[1])

    def dimension(self, image_shape: tuple[int, int, int]) -> int:
        """See ``FeatureCheckpoint``."""
        height, width = shrunk(image_shape[:2], self.size)
        return sum(prod((c, height >> k, width >> k)) for k, c in enumerate(self.channels))

    def files(self) -> list[str]:
        """See ``FeatureCheckpoint``."""
        return [str(path) for path in (self.network, self.linear) if path]

    def load(
        self,
        image_shape: tuple[int, int, int] | None = None,
        *,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> LpipsFeatures:
        """See ``FeatureCheckpoint``; of images of any shape, in single precision whatever ``dtype`` says."""
        from hessgeo.features.lpips import read_lpips

        return read_lpips(self, device=device)
