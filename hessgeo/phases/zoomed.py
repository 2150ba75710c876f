"""Maps of latents seen from a point deep in a slice, in a precision, and the place where their boundary is sharpest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from hessgeo.systems.slices import LatentSlice
from hessgeo.systems.windows import LatentWindow

PRECISIONS = ("float64", "float32", "float16", "bfloat16")
SECTIONS = 16  # intervals that a bracket is cut into
ROUNDS = 12  # of them: 16^-12 of a bracket is 4e-15 of it
TRIED_ROUNDS = 2  # after which the sharpest of several brackets goes on alone
CLOUD = 64  # latents one rounding from the centre's

Latents = Float64[np.ndarray, "n *latent"]
Values = Float64[np.ndarray, "n p"]


@dataclass(frozen=True)
class Answer:
    """What a map makes of points near a centre.

    Attributes:
        latent: latents less the centre's, flat, before they are rounded to the precision.
        clean: what the generator makes, flat.
        embedding: its features.
        inputs: how many different latents there are in the precision.
    """

    latent: Float64[np.ndarray, "n q"]
    clean: Float64[np.ndarray, "n p"]
    embedding: Float64[np.ndarray, "n e"]
    inputs: int


@dataclass(frozen=True)
class ZoomedMap:
    """A deterministic generator on a slice, followed in a window of any size.

    Latents are the centre's plus an offset that has all its digits (``LatentWindow``), rounded once to the precision.
    Latents that are then alike are generated once.

    Args:
        plane: the slice.
        generate: from latents, numbers of the precision held in float64, to clean data; in what precision is its own.
        embed: from clean data, flat or not, to features; the data themselves if None.
        precision: one of ``PRECISIONS``.
        picture: from clean data to images of values from 0 to 1, channels last; if None, clean data are pixels.
    """

    plane: LatentSlice
    generate: Callable[[Latents], Float[np.ndarray, "n *sample"]]
    embed: Callable[[Float[np.ndarray, "n *sample"]], Float[np.ndarray, "n e"]] | None = None
    precision: str = "float64"
    picture: Callable[[Float[np.ndarray, "n c h w"]], Float[np.ndarray, "n height width k"]] | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}, must be one of {', '.join(PRECISIONS)}")

    @property
    def rounding(self) -> float:
        """Largest relative error of a number in the precision."""
        import torch  # what was seen is judged without it

        return torch.finfo(getattr(torch, self.precision)).eps / 2

    def answer(self, centre: tuple[float, float], step: Float[np.ndarray, "n 2"]) -> Answer:
        """Clean data and features at steps from a centre, in parameters.

        Raises:
            FloatingPointError: if the map gives a value that is not finite.
        """
        window = LatentWindow(self.plane, centre)
        offset = window.offsets(step)
        clean, embedding, inputs = self._respond(window.centre_latent + offset)
        return Answer(offset.reshape(len(step), -1), clean, embedding, inputs)

    def floor(self, centre: tuple[float, float], *, seed: int = 0) -> tuple[float, float]:
        """How far clean data and features of latents lie apart that differ by a rounding: what no window can tell.

        The largest distance of two that follow each other in a cloud of latents about the centre's, whose components
        differ by at most one unit in the last place of the precision's numbers near them: constants are largest, too.
        """
        latent = LatentWindow(self.plane, centre).centre_latent
        random = np.random.default_rng(seed).uniform(-1, 1, (CLOUD, *latent.shape))
        clean, embedding, _ = self._respond(latent * (1 + 2 * self.rounding * random))
        apart = (np.linalg.norm(values[1:] - values[:-1], axis=1) for values in (clean, embedding))
        clean_floor, embedding_floor = (float(distance.max()) for distance in apart)
        return clean_floor, embedding_floor

    def _respond(self, latents: Latents) -> tuple[Values, Values, int]:
        """Clean data and features of latents once they are rounded, and how many are different then."""
        import torch

        rounded = torch.from_numpy(latents).to(getattr(torch, self.precision)).double().numpy()
        different, place = np.unique(rounded.reshape(len(rounded), -1), axis=0, return_inverse=True)
        clean = np.asarray(self.generate(different.reshape(-1, *rounded.shape[1:])))
        embedding = clean if self.embed is None else np.asarray(self.embed(clean))
        flat = [values.reshape(len(values), -1).astype(np.float64) for values in (clean, embedding)]
        if not all(np.isfinite(values).all() for values in flat):
            raise FloatingPointError(f"the map gave values that are not finite in {self.precision}")
        return flat[0][place.ravel()], flat[1][place.ravel()], len(different)


@dataclass(frozen=True)
class BoundaryPoint:
    """A point on the boundary between two phases.

    Attributes:
        point: its parameters.
        phases: the phases on both sides.
        bracket: length of the last bracket that holds it, in parameters.
        widths: lengths of the intervals that brackets were cut into, falling.
        slopes: largest ``|Delta E| / |Delta t|`` on the interval of that length that holds the boundary.
    """

    point: tuple[float, float]
    phases: tuple[int, int]
    bracket: float
    widths: Float64[np.ndarray, "k"]
    slopes: Float64[np.ndarray, "k"]


Assign = Callable[[Float64[np.ndarray, "n e"]], Int[np.ndarray, "n"]]


def nearest_reference(references: Float[np.ndarray, "k e"]) -> Assign:
    """Phases of features: the number, from 1, of the nearest of some typical ones."""
    typical = references.astype(np.float64)

    def assign(embedding: Float64[np.ndarray, "n e"]) -> Int[np.ndarray, "n"]:
        # Distances up to what all have in common; rows are compared and no product of large matrices is rounded.
        distance = (typical**2).sum(axis=1) - 2 * np.einsum("ne,ke->nk", embedding, typical)
        return distance.argmin(axis=1) + 1

    return assign


def locate_boundary(
    zoomed: ZoomedMap,
    starts: Float[np.ndarray, "m 2"],
    ends: Float[np.ndarray, "m 2"],
    assign: Assign,
    *,
    rounds: int = ROUNDS,
) -> BoundaryPoint:
    """The sharpest of the boundary points between pairs of points in different phases, to all digits.

    Each round cuts a bracket into ``SECTIONS`` intervals and keeps the steepest of those whose ends differ in phase.
    After ``TRIED_ROUNDS`` the bracket with the steepest interval goes on alone; a bracket that has become as short as a
    rounding of the parameters ends the search.

    Args:
        zoomed: the map.
        starts: one end of each pair.
        ends: the other.
        assign: the phase of features.
        rounds: how often brackets are cut.

    Raises:
        ValueError: if no pair is in different phases.
    """
    brackets = [_Bracket(zoomed, start, end, assign) for start, end in zip(starts, ends, strict=True)]
    brackets = [one for one in brackets if one.cut()]
    if not brackets:
        raise ValueError(f"none of {len(starts)} pairs of points lies in different phases of the map")
    for _ in range(min(TRIED_ROUNDS, rounds) - 1):
        for one in brackets:
            one.cut()
    best = max(brackets, key=lambda one: one.slopes[-1])
    while len(best.slopes) < rounds and best.cut():
        pass
    return best.found


class _Bracket:
    """A segment whose ends are in different phases, as shares of it from its start."""

    def __init__(self, zoomed: ZoomedMap, start: np.ndarray, end: np.ndarray, assign: Assign) -> None:
        self.zoomed, self.assign = zoomed, assign
        self.start, self.direction = np.asarray(start, dtype=float), np.asarray(end - start, dtype=float)
        self.length = float(np.linalg.norm(self.direction))
        self.low, self.width = 0.0, 1.0
        self.phases = (0, 0)
        self.widths: list[float] = []
        self.slopes: list[float] = []

    def cut(self) -> bool:
        """Keep the steepest interval between phases; whether there is one, and room for it."""
        step = self.width / SECTIONS
        if step * self.length < 2 * np.finfo(float).eps * max(1.0, float(np.abs(self.start).max())):
            return False
        shares = self.low + step * np.arange(SECTIONS + 1)
        found = self.zoomed.answer(
            (float(self.start[0]), float(self.start[1])), shares[:, None] * self.direction
        )
        phase = self.assign(found.embedding)
        rise = np.linalg.norm(np.diff(found.embedding, axis=0), axis=1)
        rise[phase[1:] == phase[:-1]] = -1
        k = int(rise.argmax())
        if rise[k] < 0:
            return False
        self.low, self.width, self.phases = float(shares[k]), step, (int(phase[k]), int(phase[k + 1]))
        self.widths.append(step * self.length)
        self.slopes.append(float(rise[k]) / (step * self.length))
        return True

    @property
    def found(self) -> BoundaryPoint:
        """The middle of what is left."""
        point = self.start + (self.low + self.width / 2) * self.direction
        return BoundaryPoint(
            point=(float(point[0]), float(point[1])),
            phases=self.phases,
            bracket=self.width * self.length,
            widths=np.array(self.widths),
            slopes=np.array(self.slopes),
        )
