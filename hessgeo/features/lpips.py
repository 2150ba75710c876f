"""LPIPS (Zhang et al. 2018) as a map of images to features, whose squared Euclidean distance it is."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from hessgeo.features.lpips_checkpoint import (
    BLOCKS,
    SMALLEST,
    LpipsCheckpoint,
    convolution_names,
    linear_names,
)
from hessgeo.features.shrunk import shrunk

# Mean and deviation of pixels from -1 to 1 that lpips takes off and divides by.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
TINY = 1e-10  # added to lengths that are divided by, as lpips does
PIXELS_AT_ONCE = 1 << 18


class LpipsFeatures:
    """Features ``f`` with ``|f(x) - f(y)|^2 = LPIPS(x, y)``, of the VGG-16 form of it.

    The activations after relu1_2, 2_2, 3_3, 4_3 and 5_3, of unit length over the channels at each pixel, times the root
    of the linear weights of their channels, divided by the root of the number of pixels:
    ``LPIPS = sum_l 1/(H_l W_l) sum_hw sum_c w_lc (y_lhwc - y'_lhwc)^2``. Pixels 0 to 255 are taken as -1 to 1, as by
    the package lpips; a single channel stands for all three.

    Args:
        network: the layers of VGG-16 up to relu5_3.
        linear: weights of the channels of the five blocks, not negative; None for one each.
        size: larger images are shrunk to this many pixels along the shorter side, by averaging; None for none. The
            linear weights were fitted to patches of 64 x 64.
        device: where it runs.

    Raises:
        ValueError: if a linear weight is negative.
    """

    def __init__(
        self,
        network: torch.nn.Sequential,
        linear: list[Float[Tensor, "c"]] | None = None,
        *,
        size: int | None = None,
        device: str = "cpu",
    ) -> None:
        if linear is not None and any(bool((weight < 0).any()) for weight in linear):
            raise ValueError("a linear weight of LPIPS is negative, which gives no distance")
        ends = [0, *(block[-1] + 2 for block in BLOCKS)]
        self.blocks = [network[first:last].to(device).eval() for first, last in pairwise(ends)]
        self.roots = None if linear is None else [weight.sqrt().to(device) for weight in linear]
        self.size, self.device = size, device

    @torch.inference_mode()
    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """Features of images.

        Raises:
            ValueError: if images are smaller than 16 pixels along a side, or have neither one nor three channels.
        """
        if min(images.shape[1:3]) < SMALLEST or images.shape[3] not in (1, 3):
            allowed = f"at least {SMALLEST} pixels along each side and one or three channels"
            raise ValueError(f"images have shape {images.shape[1:]}, must have {allowed}")
        height, width = shrunk((images.shape[1], images.shape[2]), self.size)
        batch = max(1, PIXELS_AT_ONCE // (height * width))
        blocks = [
            self._features(images[k : k + batch], (height, width)) for k in range(0, len(images), batch)
        ]
        return np.concatenate(blocks)

    def _features(self, images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        x = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).movedim(-1, 1) / 127.5 - 1
        if x.shape[-2:] != size:
            x = functional.interpolate(x, size, mode="bilinear", antialias=True)
        shift, scale = (x.new_tensor(values)[:, None, None] for values in (SHIFT, SCALE))
        x, layers = (x - shift) / scale, []
        for k, block in enumerate(self.blocks):
            x = block(x)
            unit = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + TINY)
            if self.roots is not None:
                unit = unit * self.roots[k][:, None, None]
            layers.append((unit / (x.shape[2] * x.shape[3]) ** 0.5).flatten(1))
        return torch.cat(layers, dim=1).cpu().numpy()


def read_lpips(checkpoint: LpipsCheckpoint, *, device: str = "cpu") -> LpipsFeatures:
    """Read the features of LPIPS from local files.

    Raises:
        ValueError: as ``LpipsCheckpoint.check`` and ``LpipsFeatures``.
    """
    from torchvision.models.vgg import make_layers

    checkpoint.check()
    names, widths = convolution_names(checkpoint.network)
    channels = iter(widths)
    layout: list[str | int] = []
    for block in BLOCKS:
        layout += [*(next(channels) for _ in block), "M"]
    network: Any = make_layers(layout)[: BLOCKS[-1][-1] + 2]
    network.load_state_dict(_tensors(checkpoint.network, names))
    source = checkpoint.linear or checkpoint.network
    found = linear_names(source, checkpoint.channels)
    weights = [tensor.flatten() for tensor in _tensors(source, {name: name for name in found}).values()]
    return LpipsFeatures(network, weights or None, size=checkpoint.size, device=device)


def _tensors(path: str | Path, names: dict[str, str]) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(name).float() for key, name in names.items()}
