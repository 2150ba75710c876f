"""Embeddings by a network in a file of ONNX, TorchScript or ``torch.export``, of whatever origin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hessgeo.features.base import FeatureCheckpoint
from hessgeo.weights.declared import FLOATS, Declared, NetworkFile, shapes_agree, shown_shape
from hessgeo.weights.networks import read_network

if TYPE_CHECKING:
    from hessgeo.features.file_embedding import FileEmbedding

CHANNELS = {"rgb": 3, "bgr": 3, "grey": 1}
"""Orders of the channels of a network's input, and how many there are."""


@dataclass(frozen=True)
class NetworkInput:
    """How images are brought to a network.

    Attributes:
        size: (height, width) of its input; None for that of the images.
        mean: of each of its channels, in its order, of values in [0, 1]; none of a network that takes eight bits.
        std: the same for the standard deviation.
        layout: ``nchw`` or ``nhwc``.
        channels: one of ``CHANNELS``.
    """

    size: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str
    channels: str


class NetworkFileCheckpoint(FeatureCheckpoint):
    """A network in a file, whose output for an image, flattened and of unit length, embeds it.

    What the file says of its input (size, layout, number of channels) need not be said again, and may not be
    contradicted. No file says what mean and standard deviation it was trained with.

    Args:
        checkpoint: the file, see ``read_network``.
        model: must be None, for a file holds its network whole.
        input: what is known of its input: ``size``, ``mean``, ``std`` (a number, or one a channel, of values in
            [0, 1]), ``layout`` and ``channels`` as in ``NetworkInput``.
        output: name of what embeds among its outputs, or of a tensor inside of it; None for its only output.
    """

    def __init__(
        self,
        checkpoint: str | Path | None,
        model: str | None = None,
        *,
        input: Mapping[str, Any] | None = None,
        output: str | None = None,
    ) -> None:
        if not checkpoint:
            raise ValueError("checkpoint is null, must be a file of a network")
        self.path, self.model, self.said, self.output = Path(checkpoint), model, dict(input or {}), output

    @cached_property
    def file(self) -> NetworkFile:
        """What the file declares."""
        return read_network(self.path)

    def files(self) -> list[str]:
        """See ``FeatureCheckpoint``."""
        return self.file.files

    def check(self) -> None:
        """See ``FeatureCheckpoint``."""
        if self.model is not None:
            raise ValueError(f"model is {self.model!r}, must be null: {self.path} holds its network whole")
        if self.file.random:
            raise ValueError(f"{self.path} draws its own noise ({', '.join(self.file.random)})")
        gives = self.features
        if gives.type not in ("", *FLOATS):
            raise ValueError(f"{self.path} gives {gives.name} of type {gives.type}, must give real numbers")
        _ = self.seen

    @property
    def features(self) -> Declared:
        """The output that embeds."""
        return self.file.output(self.output, "the features")

    @property
    def images(self) -> Declared:
        """The input that takes images."""
        if len(self.file.inputs) != 1:
            names = ", ".join(value.name for value in self.file.inputs) or "none"
            raise ValueError(f"{self.path} needs the inputs {names}, must need images alone")
        (images,) = self.file.inputs
        if images.type not in ("", "uint8", *FLOATS):
            allowed = f"{', '.join(FLOATS)} or uint8"
            raise ValueError(f"{self.path} takes images of type {images.type}, must take {allowed}")
        return images

    @property
    def seen(self) -> NetworkInput:
        """How images are brought to the network: what the file says, and what is said of it beside.

        Raises:
            ValueError: one line, if they contradict each other, or neither says what must be known.
        """
        images = self.images
        shape = images.shape or (None,) * 4
        takes = f"{self.path} takes images of shape {shown_shape(shape)}"
        if len(shape) != 4:
            raise ValueError(
                f"{takes}, must take (n, channels, height, width) or (n, height, width, channels)"
            )
        layout = self._layout(shape, takes)
        count, *sides = (shape[1], *shape[2:]) if layout == "nchw" else (shape[3], *shape[1:3])
        channels = self.said.get("channels") or ("grey" if count == 1 else "rgb")
        if count not in (None, CHANNELS[channels]):
            raise ValueError(f"input.channels is {channels}, {takes}: must be one of {count} channels")
        size = self.said.get("size")
        if size is not None and not shapes_agree(size, sides):
            raise ValueError(f"input.size is {list(size)}, {takes}: must be left out, or the same")
        if size is None and None not in sides:
            size = sides
        if size is None and sides != [None, None]:
            raise ValueError(f"input.size is null, must be [height, width]: {takes}")
        mean, std = (self._numbers(key, CHANNELS[channels], images) for key in ("mean", "std"))
        return NetworkInput(size and (int(size[0]), int(size[1])), mean, std, layout, channels)

    def _layout(self, shape: Sequence[int | None], takes: str) -> str:
        place = {"nchw": 1, "nhwc": 3}
        fitting = [layout for layout, axis in place.items() if shape[axis] in (None, 1, 3)]
        said = self.said.get("layout")
        if not fitting or (said and said not in fitting):
            allowed = f"input.layout {fitting[0]}" if fitting else "one or three channels"
            raise ValueError(f"{takes}, must have {allowed}")
        sure = [layout for layout in fitting if shape[place[layout]] is not None]
        return said or (sure or fitting)[0]

    def _numbers(self, key: str, count: int, images: Declared) -> tuple[float, ...]:
        value = self.said.get(key)
        if images.type == "uint8":
            if value is not None:
                raise ValueError(f"input.{key} is {value}, must be left out: {self.path} takes eight bits")
            return ()
        if value is None:
            raise ValueError(
                f"input.{key} is null, must be what {self.path} was trained with, a number or {count}, of pixels from "
                "0 to 1: no file says it"
            )
        numbers = tuple(map(float, np.ravel(value)))
        if len(numbers) not in (1, count):
            raise ValueError(f"input.{key} is {value}, must be a number or {count}, one a channel")
        if key == "std" and min(numbers) <= 0:
            raise ValueError(f"input.std is {value}, must be above 0")
        return numbers * (count // len(numbers))

    def dimension(self, image_shape: tuple[int, int, int]) -> int:
        """See ``FeatureCheckpoint``; where the file does not say it, one black image is embedded."""
        self.check()
        shape = self.features.shape
        if shape and None not in shape[1:]:
            return math.prod(length or 1 for length in shape[1:])
        return self.load(image_shape).dimension

    def load(
        self,
        image_shape: tuple[int, int, int] | None = None,
        *,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> FileEmbedding:
        """See ``FeatureCheckpoint``; the precision is the file's own."""
        from hessgeo.features.file_embedding import FileEmbedding

        if dtype != "float32":
            raise ValueError(f"dtype is {dtype!r}, must be float32: {self.path} has its own precision")
        self.check()
        return FileEmbedding(self, image_shape, device)
