"""What the embeddings by a network share: preprocessing, precision, unit vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped, UInt8
from torch import Tensor, nn
from torch.nn import functional

from hessgeo.features.base import Embedding

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, by Rec. 601


@dataclass(frozen=True)
class Preprocessing:
    """From 8-bit images to what a network takes: three channels, its size, its mean and standard deviation.

    The whole image is resized, with antialiasing; nothing is cropped, as what lies at the border counts as
    much as the centre when two samples are compared.

    Args:
        size: (height, width) of the network's input.
        mean: of each channel, of values in [0, 1].
        std: the same for the standard deviation.
        interpolation: the filter, bicubic unless it says ``bilinear``.
        channels: ``rgb``, ``bgr``, or ``grey`` for one channel, the luma of Rec. 601 of a colour image.
        layout: ``nchw``, or ``nhwc`` for channels last.

    Without mean and standard deviation the result is in eight bits.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    channels: str = "rgb"
    layout: str = "nchw"

    def __call__(
        self, images: UInt8[np.ndarray, "n h w c"], device: torch.device
    ) -> Shaped[Tensor, "n *input"]:
        """Preprocess images in float32, on a device.

        Raises:
            ValueError: if the images have neither one nor three channels.
        """
        if images.shape[3] not in (1, 3):
            raise ValueError(f"images have {images.shape[3]} channels, must be 1 (grey) or 3 (RGB)")
        return self.of_floats(
            torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 255
        )

    def of_floats(self, x: Float[Tensor, "n c h w"]) -> Shaped[Tensor, "n *input"]:
        """Preprocess values from 0 to 1, of one or three channels, in their own precision."""
        if x.shape[2:] != self.size:
            mode = "bilinear" if self.interpolation == "bilinear" else "bicubic"
            x = functional.interpolate(x, self.size, mode=mode, align_corners=False, antialias=True)
            # A bicubic filter overshoots at edges.
            x = x.clamp(0, 1)
        x = self._arranged(x)
        if self.mean:
            mean, std = (x.new_tensor(v).view(1, -1, 1, 1) for v in (self.mean, self.std))
            x = (x - mean) / std
        else:
            x = (255 * x).round().to(torch.uint8)
        return x.movedim(1, -1) if self.layout == "nhwc" else x

    def _arranged(self, x: Float[Tensor, "n c height width"]) -> Float[Tensor, "n d height width"]:
        """The channels of a network, of one or three."""
        if self.channels == "grey":
            return x if x.shape[1] == 1 else (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        x = x.expand(-1, 3, -1, -1)
        return x.flip(1) if self.channels == "bgr" else x


class NetworkEmbedding(Embedding):
    """Unit embeddings of images by a network.

    The network runs in its own precision; images are preprocessed, and vectors normalised, in float32.

    Args:
        network: the network, which is put in evaluation mode.
        preprocessing: what it takes.
        dimension: number of features.
        dtype: floating-point type of its input.
        encode: from preprocessed images to features, one row an image; the network itself if None.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        dimension: int,
        dtype: torch.dtype,
        encode: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.network, self.preprocessing = network.eval().requires_grad_(False), preprocessing
        self.encode, self.dimension, self.dtype = encode or network, dimension, dtype
        self.device = next(network.parameters()).device

    def preprocess(self, images: UInt8[np.ndarray, "n h w c"]) -> Float[Tensor, "n 3 height width"]:
        """Bring images to the network's channels, size and standardisation, see ``Preprocessing``."""
        return self.preprocessing(images, self.device)

    @torch.inference_mode()
    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """Embed images in one forward pass, see ``Embedding``.

        Raises:
            ValueError: if the network gives features of another shape than (n, dimension).
        """
        features = self.encode(self.preprocess(images).to(self.dtype)).float()
        if features.shape != (len(images), self.dimension):
            expected = (len(images), self.dimension)
            raise ValueError(
                f"the network gave features of shape {tuple(features.shape)}, must be {expected}"
            )
        return functional.normalize(features, dim=1).cpu().numpy()
