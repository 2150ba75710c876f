"""Latents in files of NumPy, safetensors and ``torch.save``, read without torch and without running code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from hessgeo.weights.files import npy_header
from hessgeo.weights.headers import NUMBERS, read_header, read_tensor
from hessgeo.weights.torch_files import named_tensors, read_torch_file

SUFFIXES = (".npy", ".safetensors", ".pt", ".pth")
KINDS = f"a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file"
LARGEST_PICKLE = 100_000  # bytes; that of one tensor has some hundred
LARGEST_STORAGE = 2**30  # bytes, of which the latents may be a part
PRECISIONS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}  # of numbers that are not kept to those of float32
FLOAT32 = 2.0**-23


@dataclass(frozen=True)
class Latents:
    """An array in a file, whose numbers have not been read.

    Attributes:
        dtype: its type by name.
        shape: its shape.
        read: reads it, in float64 and of that shape.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]

    @property
    def precision(self) -> float:
        """Relative distance of neighbouring numbers; of all that is finer than float32, that of float32."""
        return PRECISIONS.get(self.dtype, FLOAT32)


def find_latents(path: str | Path, shape: tuple[int, ...]) -> Latents:
    """The array in a file, if it is one of real numbers of a shape; axes of length one count nowhere.

    So ``(3, 1, 4, 64, 64)``, one latent a batch, is ``(3, 4, 64, 64)``. A safetensors file, or a mapping in one of
    ``torch.save``, holds one tensor, of any name, in any real type.

    Raises:
        ValueError: one line that says what the file holds and what it must be.
    """
    path = Path(path)
    must = f"real numbers of shape {shape}"
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(f"latent file {path} must be {KINDS} of {must}")
    find = {".npy": _find_npy, ".safetensors": _find_safetensors}.get(kind, _find_torch)
    found = find(path, must)
    is_real = found.dtype.startswith(("float", "bfloat", "int", "uint"))
    if not is_real or _long_axes(found.shape) != _long_axes(shape):
        raise ValueError(f"latent file {path} holds {found.dtype} of shape {found.shape}, must be {must}")
    return Latents(found.dtype, shape, lambda: found.read().reshape(shape).astype(np.float64))


def load_latents(path: str | Path, shape: tuple[int, ...]) -> Float[np.ndarray, "*latents"]:
    """Read latents of a given shape, axes of length one aside, from a file; see ``find_latents``.

    Raises:
        ValueError: as ``find_latents``, and if a number is not finite.
    """
    latents = find_latents(path, shape).read()
    if not np.isfinite(latents).all():
        bad = int((~np.isfinite(latents)).sum())
        raise ValueError(f"latent file {path} holds {bad} numbers that are not finite, must hold none")
    return latents


def _long_axes(shape: tuple[int, ...]) -> list[int]:
    return [length for length in shape if length != 1]


def _find_npy(path: Path, must: str) -> Latents:
    shape, dtype = npy_header(path, f"a latent file of {must}")
    return Latents(dtype.name, shape, lambda: np.load(path, mmap_mode="r", allow_pickle=False))


def _find_safetensors(path: Path, must: str) -> Latents:
    header = read_header(path)
    if len(header.tensors) != 1:
        raise ValueError(f"latent file {path} holds {len(header.tensors)} tensors, must hold one, {must}")
    (entry,) = header.tensors.values()
    known = NUMBERS.get(entry.dtype)
    name = "bfloat16" if entry.dtype == "BF16" else np.dtype(known).name if known else entry.dtype
    return Latents(name, entry.shape, lambda: read_tensor(path, entry))


def _find_torch(path: Path, must: str) -> Latents:
    try:
        tensors = named_tensors(read_torch_file(path, largest=LARGEST_PICKLE))
    except ValueError as error:
        raise ValueError(f"latent file {error}, must be {must}") from error
    if len(tensors) != 1:
        raise ValueError(f"latent file {path} holds {len(tensors)} tensors, must hold one, {must}")
    (tensor,) = tensors.values()
    if tensor.reach > LARGEST_STORAGE:
        raise ValueError(
            f"latent file {path} is a view of {tensor.reach:,} bytes, must be saved as a copy, {must}"
        )
    return Latents(tensor.dtype, tensor.shape, tensor.read)


# --- the plane that anchors span ---


def latent_fault(latent: Float[np.ndarray, "*latent"]) -> str:
    """Why one latent is none, '' if nothing is wrong: it is constant, or has a number that is not finite."""
    if not np.isfinite(latent).all():
        return "holds a number that is not finite"
    if latent.size > 1 and np.ptp(latent) == 0:
        return f"is {latent.flat[0]:g} everywhere"
    return ""


def plane_fault(
    anchors: Float[np.ndarray, "3 *latent"], normalisation: str = "none", precision: float = FLOAT32
) -> str:
    """Why three anchors span no plane of latents, '' if they do.

    Two that are equal, or three on a line, up to the rounding of the numbers that they were saved in, leave fewer than
    two directions. Where latents are normalised by ``sphere`` or ``std``, so does a plane through the origin: what lies
    on one ray from it becomes one latent.

    Args:
        anchors: the latents.
        normalisation: as of ``LatentSlice``.
        precision: relative distance of neighbouring numbers of their type.
    """
    z = anchors.reshape(3, -1).astype(np.float64)
    size = np.linalg.norm(z, axis=1).max()
    # Rounding moves a vector by its length times a third of the precision, at most; twice that for differences.
    rounding = 2 * precision * size
    for first, second in ((0, 1), (0, 2), (1, 2)):
        if np.linalg.norm(z[first] - z[second]) <= rounding:
            return f"anchors {first + 1} and {second + 1} are one latent, so that the three span no plane"
    edges = sorted((z[1] - z[0], z[2] - z[0], z[2] - z[1]), key=lambda edge: float(np.linalg.norm(edge)))
    if _distance_to_span(edges[0], edges[2:]) <= rounding:
        return "the anchors lie on a line, so that they span no plane"
    if normalisation in ("sphere", "std") and _distance_to_span(z[0], edges[:2]) <= rounding:
        return f"the plane of the anchors goes through the origin, so that normalised by {normalisation!r} it is a line"
    return ""


def _distance_to_span(vector: Float[np.ndarray, "n"], others: list[Float[np.ndarray, "n"]]) -> float:
    """How far a vector is from the nearest combination of others."""
    span = np.stack([other / np.linalg.norm(other) for other in others], axis=1)
    orthonormal = np.linalg.qr(span)[0]
    rest = vector - orthonormal @ (orthonormal.T @ vector)
    # Once more, for what the first projection rounded.
    return math.sqrt(float(np.square(rest - orthonormal @ (orthonormal.T @ rest)).sum()))
