"""Generators that map a latent to an image in one pass, in a file of ONNX, TorchScript or ``torch.export``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Shaped, UInt8

from hessgeo.systems.generator_files import (
    DEFAULT_RANGE,
    ImagesOfFile,
    channels_first,
    check_eight_bits,
    condition_array,
    describe_generator,
    input_array,
    is_shared,
    layout_of,
    other_images,
)
from hessgeo.systems.generator_trial import try_generator
from hessgeo.systems.images import eight_bits
from hessgeo.systems.sliced import NO_CONDITIONS, Conditions, SlicedSystem
from hessgeo.systems.slices import LATENT, LatentSlice
from hessgeo.weights.declared import shapes_agree
from hessgeo.weights.networks import load_network, read_network


class Generator(ABC):
    """A network from latents to images.

    Attributes:
        name: the file, for messages.
        latent_shape: shape of one latent where the file says so; an axis of ``None`` may have any length.
        batch: number of latents that it takes at once, if that is fixed.
        varied: its further inputs, of which a sample has a number each.
        shared: those of them that take one number for all samples of a batch.
    """

    name: str
    latent_shape: tuple[int | None, ...] | None = None
    batch: int | None = None
    varied: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()

    @abstractmethod
    def __call__(
        self, z: Float32[np.ndarray, "n *latent"], conditions: Conditions = NO_CONDITIONS
    ) -> Shaped[np.ndarray, "n c h w"]:
        """The images of latents, as the network gives them: float32, or whole numbers of its own type.

        Raises:
            ValueError: if the network cannot be run on latents of this shape, or gives no single array.
        """


class FileGenerator(Generator):
    """A network in a file as a ``Generator``.

    Args:
        checkpoint: the file.
        images: how it is called, and what it gives.
        device: where to run it.
        conditions: names of its inputs that samples have numbers of.

    Raises:
        ValueError: as ``check_generator``, and if the file cannot be loaded.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        images: ImagesOfFile | None = None,
        device: str = "cpu",
        conditions: Collection[str] = (),
    ) -> None:
        self.file, self.images = read_network(checkpoint), images or ImagesOfFile()
        # Its shapes are compared with those of the images that it makes.
        known = replace(self.images, latent=None, size=None)
        self.latents, found = describe_generator(self.file, known, conditions)
        self.network = load_network(self.file, [found.name], device)
        shape, self.name = self.latents.shape, str(self.file.path)
        self.batch, self.latent_shape = (shape[0], shape[1:]) if shape else (None, None)
        others = [value for value in (*self.file.inputs, *self.file.optional) if value != self.latents]
        self.known = {value.name: value for value in others}
        self.varied = frozenset(self.known)
        self.shared = frozenset(value.name for value in others if is_shared(value))

    def __call__(
        self, z: Float32[np.ndarray, "n *latent"], conditions: Conditions = NO_CONDITIONS
    ) -> Shaped[np.ndarray, "n c h w"]:
        """See ``Generator``."""
        fixed = {
            name: input_array(self.file, self.known[name], value, len(z))
            for name, value in self.images.inputs.items()
        }
        varied = {
            name: condition_array(self.file, self.known[name], values) for name, values in conditions.items()
        }
        values = self.network({self.latents.name: z, **fixed, **varied})[0]
        return channels_first(values, layout_of(self.images, values.shape))


class GeneratorSystem(SlicedSystem):
    """Images of the latents of a slice; a deterministic function of the parameters.

    Args:
        generator: the network.
        latent_slice: as in ``SlicedSystem``.
        size: (height, width) of its images, in pixels.
        channels: of its images, 1 or 3.
        output_range: as in ``ImagesOfFile``.
        batch_size: as in ``SlicedSystem``, unless the network takes a fixed number.

    Raises:
        ValueError: on a latent slice of another shape than the network's latents, a range that does not
            increase, channels that are neither one nor three, or a size or batch size below one.
    """

    def __init__(
        self,
        generator: Generator,
        latent_slice: LatentSlice,
        *,
        size: Sequence[int],
        channels: int = 3,
        output_range: Sequence[float] = DEFAULT_RANGE,
        batch_size: int,
    ) -> None:
        shape = latent_slice.latent_shape
        declared = generator.latent_shape
        if declared is not None and not shapes_agree(shape, declared):
            raise ValueError(f"the latent slice has shape {shape}, {generator.name} takes {declared}")
        if channels not in (1, 3):
            raise ValueError(f"channels is {channels}, must be 1 (grey) or 3 (RGB)")
        if len(output_range) != 2 or not -np.inf < output_range[0] < output_range[1] < np.inf:
            raise ValueError(f"output_range is {list(output_range)}, must be [low, high] with low < high")
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size is {list(size)}, must be [height, width] in pixels")
        self.generator, self.varied, self.shared = generator, generator.varied, generator.shared
        super().__init__(latent_slice, (size[0], size[1], channels), batch_size=generator.batch or batch_size)
        self.low, self.high = map(float, output_range)

    def generate(
        self,
        latents: Float[np.ndarray, "n *latent"],
        index: Int[np.ndarray, "n"],
        seed: int,
        conditions: Conditions = NO_CONDITIONS,
    ) -> UInt8[np.ndarray, "n h w c"]:
        """See ``SlicedSystem``; ``index`` and ``seed`` are not used.

        Raises:
            ValueError: if the network gives images of another shape.
            FloatingPointError: if it gives values that are not finite.
        """
        return self.quantise(self.outputs(latents, conditions))

    def outputs(
        self, latents: Float[np.ndarray, "n *latent"], conditions: Conditions = NO_CONDITIONS
    ) -> Shaped[np.ndarray, "n c h w"]:
        """What the network gives for as many latents as a batch has, float32 or uint8, checked; see ``generate``."""
        z = np.ascontiguousarray(latents, dtype=np.float32)
        values = self.generator(z, conditions) if conditions else self.generator(z)
        height, width, channels = self.sample_shape
        expected = (len(latents), channels, height, width)
        if values.shape != expected:
            raise ValueError(other_images(self.generator.name, values.shape, expected))
        if values.dtype not in (np.float32, np.uint8):
            raise ValueError(f"{self.generator.name} gives {values.dtype}, must give real numbers or uint8")
        if values.dtype == np.uint8:
            check_eight_bits(self.generator.name, (self.low, self.high))
        if not all(np.isfinite(image).all() for image in values):
            raise FloatingPointError(f"{self.generator.name} gave values that are not finite")
        return values

    @property
    def fixed_batch(self) -> int | None:
        """Number of latents that the network takes at once, if that is fixed."""
        return self.generator.batch

    def quantise(self, values: Shaped[np.ndarray, "n c h w"]) -> UInt8[np.ndarray, "n h w c"]:
        """Pixels ``round(255 clip((x - low) / (high - low), 0, 1))``; eight bits are pixels already."""
        if values.dtype == np.uint8:
            return values.transpose(0, 2, 3, 1)
        pixels = np.empty((len(values), *values.shape[2:], values.shape[1]), np.uint8)
        # One image at a time, into its place: a list of them all would be a second copy.
        for image, shown in zip(values, pixels, strict=True):
            shown[:] = eight_bits(image, self.low, self.high).transpose(1, 2, 0)
        return pixels


def load_generator(
    checkpoint: str | Path,
    latent_slice: LatentSlice,
    *,
    batch_size: int,
    device: str = "cpu",
    **settings: Any,
) -> GeneratorSystem:
    """Load a generator from a file, and try it on a few latents.

    Args:
        checkpoint: the file, see ``read_network``.
        latent_slice: the map from parameters to latents.
        batch_size: images a forward pass, unless the file fixes their number.
        device: where to run the network; ONNX runs on the CPU where its runtime has no CUDA.
        settings: of its ``ImagesOfFile``; ``size`` must be there.

    Raises:
        ValueError: on a pickle or another kind of file, a network that needs more than a latent and the inputs given,
            and what ``GeneratorSystem`` and ``try_generator`` refuse.
        FloatingPointError: if the images hold values that are not finite.
    """
    images = ImagesOfFile(**settings)
    if images.size is None:
        raise ValueError("size is None, must be [height, width] in pixels")
    axes = set(latent_slice.axes) - {LATENT}
    system = GeneratorSystem(
        FileGenerator(checkpoint, images, device, axes),
        latent_slice,
        size=images.size,
        channels=images.channels,
        output_range=images.output_range,
        batch_size=batch_size,
    )
    try_generator(system)
    return system
