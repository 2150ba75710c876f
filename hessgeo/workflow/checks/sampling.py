"""Whether the plane, the points and the resolutions of a study fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hessgeo.workflow.derived import sample_count
from hessgeo.workflow.schema import shown

if TYPE_CHECKING:
    from hessgeo.workflow.study import StudyCheck


def slice_errors(check: StudyCheck) -> Iterator[str]:
    """A line if the box of the slice is none."""
    extent = check.settings["slice"]["extent"]
    if any(low >= high for low, high in extent):
        yield check.line("slice.extent", extent, "[[a_min, a_max], [b_min, b_max]], each increasing")


def sampling_errors(check: StudyCheck) -> Iterator[str]:
    """A line for each setting of the points that does not fit their number."""
    sampling = check.settings["sampling"]
    design, count, shard = sampling["design"], sampling["count"], sampling["shard"]
    if design == "grid" and count is not None:
        yield check.line("sampling.count", count, "null for the design grid, whose points are its nodes")
    if design != "grid" and count is None:
        yield check.line("sampling.count", None, f"a whole number >= 64 for the design {design}")
    elif sample_count(sampling) % shard:
        allowed = f"a divisor of the number of points, {sample_count(sampling)}"
        yield check.line("sampling.shard", shard, allowed)


def resolution_errors(check: StudyCheck) -> Iterator[str]:
    """A line for each resolution that the points do not carry, or that the kind of posterior has no use for."""
    grid, posterior = check.settings["sampling"]["grid"], check.settings["posterior"]
    limit = f"at most the nodes of sampling.grid, {grid}"
    fit = check.settings["free_energy"]
    if fit["fit"] == "spline" and any(
        knots > nodes for knots, nodes in zip(fit["splines"], grid, strict=True)
    ):
        yield check.line("free_energy.splines", fit["splines"], limit)
    coarse = posterior["coarse"]
    if coarse and any(cells > nodes for cells, nodes in zip(coarse, grid, strict=True)):
        yield check.line("posterior.coarse", coarse, limit)
    # A count that is missing has a line of its own.
    points = sample_count(check.settings["sampling"])
    if points is not None and posterior["neighbours"] >= points:
        allowed = f"fewer than the {points} points"
        yield check.line("posterior.neighbours", posterior["neighbours"], allowed)
    network = posterior["network"]
    for key, neutral in (("coarse", None), ("neighbours", 0), ("exclude_self", False)):
        if posterior["kind"] == "network" and posterior[key] != neutral:
            allowed = f"{shown(neutral)} for the kind network, which does not keep or leave out samples"
            yield check.line(f"posterior.{key}", posterior[key], allowed)
    if posterior["kind"] == "network" and network["bundle"] > network["neighbours"]:
        allowed = f"at most posterior.network.neighbours, {network['neighbours']}"
        yield check.line("posterior.network.bundle", network["bundle"], allowed)
