"""What a file of a generator must say to be one: which input is the latents, what the others take, what its images are.

Nothing of the network is run, and neither torch nor onnxruntime is imported: this is asked whenever settings are read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from hessgeo.weights.declared import FLOATS, Declared, NetworkFile, shapes_agree, shown_shape
from hessgeo.weights.networks import read_network

DEFAULT_RANGE = (-1.0, 1.0)
EXPORT = (
    "export a wrapper whose only input is z, of shape (n, *latent), with everything else fixed, or give each but the "
    "latents a value in inputs"
)
NUMBERS = {"float": "float64", "int": "int64", "bool": "bool"}  # of Python, as TorchScript takes them


@dataclass(frozen=True, kw_only=True)
class ImagesOfFile:
    """How a network in a file is to be called, and what its images are.

    Attributes:
        latent: shape of one latent, where it is known.
        size: (height, width) of its images in pixels, where it is known.
        channels: of its images, 1 or 3.
        output_range: the values that it gives to black and to full intensity; those beyond are clipped. A network that
            gives uint8 means 0 to 255, whatever stands here.
        inputs: values of its further inputs by name, alike for all samples: numbers, or lists of them.
        output: name of the images among its outputs, or of a tensor inside; None for the only one.
        layout: ``nchw`` or ``nhwc``, where the channels of its images are; None for what its shape says.
    """

    latent: Sequence[int] | None = None
    size: Sequence[int] | None = None
    channels: int = 3
    output_range: Sequence[float] = DEFAULT_RANGE
    inputs: Mapping[str, Any] = field(default_factory=dict)
    output: str | None = None
    layout: str | None = None


def check_generator(checkpoint: str | Path, varied: Collection[str] = (), **settings: Any) -> None:
    """Refuse a file that holds no exported network, or another one than described, without running any of it.

    Args:
        checkpoint: the file.
        varied: names of further inputs that samples have numbers of.
        settings: of its ``ImagesOfFile``.

    Raises:
        ValueError: one line that says what it is, and what it must be.
    """
    describe_generator(read_network(checkpoint), ImagesOfFile(**settings), varied)


def describe_generator(
    file: NetworkFile, images: ImagesOfFile, varied: Collection[str] = ()
) -> tuple[Declared, Declared]:
    """The latents and the images of a file, seen to be as described.

    Args:
        file: the network.
        images: how it is called, and what it gives.
        varied: names of further inputs that are given with each sample.

    Raises:
        ValueError: as ``check_generator``.
    """
    latents, found = latents_of(file, images.inputs, varied), file.output(images.output, "the images")
    if file.random:
        raise ValueError(f"{file.path} draws its own noise ({', '.join(file.random)}), must have it fixed")
    # NumPy, in whose arrays onnxruntime gives and takes, has no bfloat16.
    real = FLOATS[:3] if file.kind == "onnx" else FLOATS
    if latents.type not in ("", *real):
        raise ValueError(
            f"{file.path} takes latents of type {latents.type}, must be one of {', '.join(real)}"
        )
    if found.type not in ("", *real, "uint8"):
        raise ValueError(f"{file.path} gives images of type {found.type}, must be {', '.join(real)} or uint8")
    if found.type == "uint8":
        check_eight_bits(file.path, images.output_range)
    if images.latent is not None and latents.shape is not None:
        asked = (None, *images.latent)
        if not shapes_agree(asked, latents.shape):
            raise ValueError(
                f"{file.path} takes latents of shape {shown_shape(latents.shape)}, must be {shown_shape(asked)}"
            )
    if images.size is not None and found.shape is not None:
        batch = latents.shape[0] if latents.shape else None
        expected = (batch, images.channels, *images.size)
        if not shapes_agree(expected, channels_first(found.shape, layout_of(images, found.shape))):
            raise ValueError(other_images(file.path, found.shape, expected))
    return latents, found


def latents_of(file: NetworkFile, inputs: Mapping[str, Any], varied: Collection[str] = ()) -> Declared:
    """The input that is the latents: the only one that has no value.

    Args:
        file: the network.
        inputs: values of the others.
        varied: names of others that are given with each sample.

    Raises:
        ValueError: one line, if there is none or more than one, on a name that the network does not have, or a value of
            another shape or type than it takes.
    """
    known = {value.name: value for value in (*file.inputs, *file.optional)}
    for name, value in inputs.items():
        if name not in known:
            raise ValueError(f"{file.path} has no input {name!r}, must be one of {', '.join(known)}")
        input_array(file, known[name], value, 1)
    if unknown := [name for name in varied if name not in known]:
        raise ValueError(f"{file.path} has no input {unknown[0]!r}, must be one of {', '.join(known)}")
    free = [value for value in file.inputs if value.name not in (*inputs, *varied)]
    if len(free) != 1:
        names = ", ".join(value.name for value in file.inputs if value.name not in inputs) or "none"
        raise ValueError(f"{file.path} needs the inputs {names}; {EXPORT}")
    return free[0]


def is_shared(declared: Declared) -> bool:
    """Whether an input takes one number for all samples of a batch."""
    return declared.shape == () or declared.type in NUMBERS


def condition_array(
    file: NetworkFile, declared: Declared, values: Float[np.ndarray, "n"]
) -> Shaped[np.ndarray, "*shape"]:
    """A further input of a network that has a number for each sample, or one that they share.

    Raises:
        ValueError: one line, as ``input_array``.
    """
    if is_shared(declared):
        return input_array(file, declared, values[0], 1)
    if declared.shape is None:
        return input_array(file, declared, values, len(values))
    open_axes = (len(values), *(length or 1 for length in declared.shape[1:]))
    whole = np.broadcast_to(values.reshape(-1, *(1,) * (len(open_axes) - 1)), open_axes)
    return input_array(file, declared, whole, len(values))


def input_array(
    file: NetworkFile, declared: Declared, value: Any, count: int
) -> Shaped[np.ndarray, "*shape"]:
    """A further input of a network, for ``count`` samples.

    An input whose first axis is open, or is that of the batch, has a value for each sample: one that lacks the axis is
    repeated. A number stands for as many as the shape has.

    Raises:
        ValueError: one line, on a value of another shape, or one that its type does not hold.
    """
    where = f"{file.path} takes {declared.name}"
    try:
        array = np.asarray(value)
        kind = NUMBERS.get(declared.type, declared.type) or (
            "float32" if array.dtype.kind == "f" else "int64"
        )
        exact = array.astype(np.float32 if kind == "bfloat16" else kind)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where} of type {declared.type}, not {value!r:.60}") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where} as numbers, not {value!r:.60}")
    whole = exact.dtype.kind in "iub"
    if not np.isfinite(array).all() or (whole and not np.array_equal(exact, array)):
        raise ValueError(f"{where} of type {declared.type or 'int64'}, which does not hold {value!r:.60}")
    if declared.shape is None:
        return exact
    target = (count, *declared.shape[1:]) if declared.shape[:1] == (None,) else declared.shape
    known = tuple(length for length in target if length is not None)
    if array.ndim == 0 and len(known) == len(target):
        return np.broadcast_to(exact, known)
    if array.ndim == len(target) - 1 and shapes_agree(array.shape, target[1:]):
        return np.broadcast_to(exact, (target[0] or count, *array.shape))
    if not shapes_agree(array.shape, target):
        raise ValueError(f"{where} of shape {shown_shape(declared.shape)}, not {shown_shape(array.shape)}")
    return exact


def layout_of(images: ImagesOfFile, shape: Sequence[int | None]) -> str:
    """Where the channels of images of a shape are: as the settings say, or as size and channels fit."""
    if images.layout is not None or len(shape) != 4:
        return images.layout or "nchw"
    height, width = images.size or (None, None)
    first, last = (None, images.channels, height, width), (None, height, width, images.channels)
    return "nhwc" if shapes_agree(last, shape) and not shapes_agree(first, shape) else "nchw"


def channels_first(values: Any, layout: str) -> Any:
    """Images (n, h, w, c), or their shape, as (n, c, h, w)."""
    if isinstance(values, np.ndarray):
        return np.moveaxis(values, -1, 1) if layout == "nhwc" and values.ndim == 4 else values
    return (values[0], values[3], *values[1:3]) if layout == "nhwc" and len(values) == 4 else values


def other_images(path: Path | str, found: Sequence[int | None], expected: Sequence[int | None]) -> str:
    """The line that refuses images of another shape."""
    return (
        f"{path} gives images of shape {shown_shape(found)}, must be {shown_shape(expected)}: (n, channels, height, "
        "width) by the settings size and channels, or channels last"
    )


def check_eight_bits(path: Path | str, output_range: Sequence[float]) -> None:
    """Refuse a range for a network that gives eight bits, unless it is the default or says the same.

    Raises:
        ValueError: one line.
    """
    if tuple(output_range) not in (DEFAULT_RANGE, (0, 255)):
        raise ValueError(f"{path} gives uint8, which means 0 to 255: output_range must be left out")
