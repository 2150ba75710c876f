"""Whether the plane, the points and the resolutions of a study fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

from hessgeo.pipeline.derived import sample_count
from hessgeo.pipeline.schema import shown

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck

SIDES = (
    "slice.extent",
    "slice.axes",
    "free_energy.splines",
    "posterior.coarse",
)  # an entry for each parameter
PLANE_ALONE = {
    "posterior.kind": ("distance",),
    "free_energy.fit": ("dual", "spline"),
    "free_energy.coordinates": ("given",),
}  # what there is of one parameter
LEAST_STEP = 1e-9  # of the nodes of a box, share of its largest coordinate: points are known to 1e-16 of it
LEAST_SIDE = 1e-30  # of a box: third derivatives are a number over its cube, and are squared
MOST_SHARDS = 10_000  # of a study; the plan of 1,000 jobs takes Snakemake 8 s
MOST_POINTS = 4_194_304  # of a study, each of whose posteriors is over all others
MOST_VALUES = 2**31  # of an array that keeps several for each point
THREADS = 8  # of the job that estimates a posterior


def most_posterior_parts(points: int) -> int:
    """Jobs that the rows of a posterior can be shared among: as ``posteriors.strips`` cuts them, which imports more."""
    return min(256, -(-points // 256))


def has_nodes(bounds: Sequence[float], nodes: int) -> bool:
    """Whether nodes between two bounds are numbers of their own."""
    low, high = bounds
    return (high - low) / (nodes - 1) > LEAST_STEP * max(abs(low), abs(high))


def parameter_errors(check: StudyCheck) -> Iterator[str]:
    """A line for each setting that is not of as many parameters as the grid has, or not of a study of one."""
    settings, count = check.settings, len(check.settings["sampling"]["grid"])
    for key in SIDES:
        part, name = key.split(".")
        value = settings[part][name]
        if value is not None and len(value) != count:
            allowed = f"{count} of them, as many as sampling.grid has node counts"
            yield check.line(key, value, allowed)
    if count == 1:
        for key, some in PLANE_ALONE.items():
            part, name = key.split(".")
            if settings[part][name] not in some:
                allowed = f"{' or '.join(some)} for a study of one parameter"
                yield check.line(key, settings[part][name], allowed)


def slice_errors(check: StudyCheck) -> Iterator[str]:
    """A line if the box of the slice is none, or so narrow that its nodes are one or no metric is a number."""
    extent, grid = check.settings["slice"]["extent"], check.settings["sampling"]["grid"]
    if any(low >= high for low, high in extent):
        yield check.line("slice.extent", extent, "[[a_min, a_max], [b_min, b_max]], each increasing")
    elif any(high - low < LEAST_SIDE for low, high in extent):
        yield check.line("slice.extent", extent, f"sides of at least {LEAST_SIDE:g}")
    elif not all(map(has_nodes, extent, grid)):
        allowed = (
            f"a box in which nodes of the grid {grid} differ by more than {LEAST_STEP:g} of their numbers"
        )
        yield check.line("slice.extent", extent, allowed)


def sampling_errors(check: StudyCheck) -> Iterator[str]:
    """A line for each setting of the points that does not fit their number."""
    sampling = check.settings["sampling"]
    design, count, shard = sampling["design"], sampling["count"], sampling["shard"]
    own = check.settings["system"]["kind"] == "samples"
    if design == "grid" and count is not None:
        yield check.line("sampling.count", count, "null for the design grid, whose points are its nodes")
    if design != "grid" and count is None:
        yield check.line("sampling.count", None, f"a whole number >= 64 for the design {design}")
        return
    points = sample_count(sampling)
    if points % shard and not own:  # the last shard of which holds what is left
        yield check.line("sampling.shard", shard, f"a divisor of the number of points, {points}")
    elif points // shard > MOST_SHARDS:
        allowed = f"at most {MOST_SHARDS:,} shards, jobs each of them; these are {points // shard:,}"
        yield check.line("sampling.shard", shard, allowed)
    elif points > MOST_POINTS:
        key = "grid" if design == "grid" else "count"
        yield check.line(f"sampling.{key}", sampling[key], f"at most {MOST_POINTS:,} points, not {points:,}")


def resolution_errors(check: StudyCheck) -> Iterator[str]:
    """A line for each resolution that the points do not carry, or that the kind of posterior has no use for."""
    grid, posterior = check.settings["sampling"]["grid"], check.settings["posterior"]
    limit = f"at most the nodes of sampling.grid, {grid}"
    fit = check.settings["free_energy"]
    if fit["fit"] == "spline" and any(
        knots > nodes for knots, nodes in zip(fit["splines"], grid, strict=True)
    ):
        yield check.line("free_energy.splines", fit["splines"], limit)
    if fit["coordinates"] == "learned" and fit["fit"] != "dual":
        yield check.line("free_energy.coordinates", fit["coordinates"], f"given for the fit {fit['fit']}")
    elif fit["coordinates"] == "learned" and not _has_rows(check):
        allowed = (
            "given, unless every node of the design grid has a sample and the posterior.kind is distance"
        )
        yield check.line("free_energy.coordinates", fit["coordinates"], allowed)
    coarse = posterior["coarse"]
    if coarse and any(cells > nodes for cells, nodes in zip(coarse, grid, strict=True)):
        yield check.line("posterior.coarse", coarse, limit)
    # A count that is missing has a line of its own.
    points = sample_count(check.settings["sampling"])
    if points is not None:
        yield from _point_errors(check, points)
    for part in ("phases", "geodesics"):
        if (width := check.settings[part]["smoothing"]) > max(grid):
            yield check.line(f"{part}.smoothing", width, limit)
    network = posterior["network"]
    unused = (
        ("coarse", None),
        ("neighbours", 0),
        ("exclude_self", False),
        ("method", "blocks"),
        ("parts", 1),
    )
    for key, neutral in unused:
        if posterior["kind"] == "network" and posterior[key] != neutral:
            allowed = f"{shown(neutral)} for the kind network, which does not keep or leave out samples"
            yield check.line(f"posterior.{key}", posterior[key], allowed)
    if posterior["kind"] == "network" and network["bundle"] > network["neighbours"]:
        allowed = f"at most posterior.network.neighbours, {network['neighbours']}"
        yield check.line("posterior.network.bundle", network["bundle"], allowed)


def _has_rows(check: StudyCheck) -> bool:
    """Whether each node has a sample whose whole posterior can be had."""
    settings = check.settings
    return settings["sampling"]["design"] == "grid" and settings["posterior"]["kind"] == "distance"


def _point_errors(check: StudyCheck, points: int) -> Iterator[str]:
    """A line for each number that must be less than that of the points, or fit beside them into memory."""
    settings = check.settings
    posterior, network = settings["posterior"], settings["posterior"]["network"]
    if posterior["neighbours"] >= points:
        yield check.line("posterior.neighbours", posterior["neighbours"], f"fewer than the {points} points")
    if settings["sampling"]["design"] != "grid" and settings["phases"]["neighbours"] >= points:
        allowed = f"fewer than the {points} points"
        yield check.line("phases.neighbours", settings["phases"]["neighbours"], allowed)
    on_plane = settings["sampling"]["design"] == "grid" and len(settings["sampling"]["grid"]) == 2
    if settings["phases"]["lines"] == "embedding" and not on_plane:
        allowed = "nodes, unless the design is a grid of two parameters"
        yield check.line("phases.lines", settings["phases"]["lines"], allowed)
    for key, each in (("neighbours", posterior["neighbours"]), ("coarse", prod(posterior["coarse"] or [0]))):
        if each * points > MOST_VALUES:
            allowed = f"at most {MOST_VALUES // points:,} numbers for each of the {points:,} points"
            yield check.line(f"posterior.{key}", posterior[key], allowed)
    if posterior["kind"] == "network":
        test = round(points * network["held_out"])
        if network["bundle"] > min(test, points - test):
            allowed = f"at most the samples on either side of held_out, {min(test, points - test)}"
            yield check.line("posterior.network.bundle", network["bundle"], allowed)
        return
    if posterior["resolution"] == "auto" and posterior["cells"] >= points:
        yield check.line("posterior.cells", posterior["cells"], f"fewer than the {points} points")
    most = most_posterior_parts(points)
    if posterior["parts"] > most:
        yield check.line(
            "posterior.parts", posterior["parts"], f"at most {most}, one for 256 of the {points:,} points"
        )
    if posterior["parts"] > 1 and posterior["scheduler"] != "threads":
        yield check.line(
            "posterior.scheduler", posterior["scheduler"], "threads where posterior.parts is above 1"
        )
    least = -(-THREADS * 4 * points // 2**20)
    if posterior["memory_mb"] < least and posterior["method"] == "blocks":
        allowed = f"at least {least}, {THREADS} rows of the {points:,} points"
        yield check.line("posterior.memory_mb", posterior["memory_mb"], allowed)
