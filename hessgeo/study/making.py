"""From functions, embeddings or a folder to a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hessgeo.study.study import Study

if TYPE_CHECKING:
    from hessgeo.grids import Extent
    from hessgeo.study.parts import Parts

Section = Mapping[str, Any] | None
FARTHEST = 1e6  # that a parameter may be from 0, as of the setting slice.extent


def map(
    generate: Callable[[Any], Any],
    embed: Callable[[Any], Any] | None = None,
    *,
    anchors: Any,
    extent: Extent | None = None,
    grid: tuple[int, int] | None = None,
    normalisation: str | None = None,
    output_range: tuple[float, float] | None = None,
    seed: int | None = None,
    name: str = "study",
    posterior: Section = None,
    free_energy: Section = None,
    phases: Section = None,
    geodesics: Section = None,
) -> Study:
    """Map the plane of latents through three anchors: images, features, free energy, metric and phases.

        study = hessgeo.map(generate, embed, anchors=hessgeo.random_anchors(3, (100, 1, 1)))

    The two functions take and give batches of numpy or of torch, on whatever device; as many are made at once as fit
    into memory. What is left out is as in the workflow by default.

    Args:
        generate: latents ``(n, *latent)``, single precision, to images ``(n, H, W, C)``, ``(n, C, H, W)`` or
            ``(n, H, W)`` of one or three channels: of eight bits, or floats in [0, 1] or [-1, 1].
        embed: images, as ``generate`` gives them, to features ``(n, d)``, whose norm does not count. The pixels of
            the images if left out.
        anchors: the latents at ``(0, 0)``, ``(1, 0)`` and ``(0, 1)``, ``(3, *latent)``.
        extent: ``((a_min, a_max), (b_min, b_max))``.
        grid: nodes along ``a`` and ``b``; each gets a sample.
        normalisation: what brings a latent back to the noise a model knows: ``sphere``, ``std``, ``anchors``, ``none``.
        output_range: values of black and of full intensity of float images, where they cannot be told.
        seed: of the sources that the resolution is chosen by.
        name: of the study.
        posterior: entries of that section of a study, checked as in a configuration file.
        free_energy: the same.
        phases: the same.
        geodesics: the same, of paths that are asked for later.

    Raises:
        SettingsError: one line for each entry that is not allowed.
        ValueError: one line, if a function or what it gives cannot be used.
        NotConvergedError: if the fit has not converged.
    """
    from hessgeo.pipeline.loading import latent_plane
    from hessgeo.study.functions import Function, to_numpy
    from hessgeo.study.parts import Parts
    from hessgeo.study.sampling import sample
    from hessgeo.study.settings import grid_of, study_settings
    from hessgeo.systems.latent_files import plane_fault

    plane = _given(extent=extent, normalisation=normalisation)
    sections = {"posterior": posterior, "free_energy": free_energy, "phases": phases, "geodesics": geodesics}
    settings = study_settings({"slice": plane, "sampling": _given(grid=grid), "seed": seed, **sections})
    nodes = grid_of(settings)
    each = [to_numpy(anchor) for anchor in anchors] if np.iterable(anchors) else []
    if len(each) != 3 or len({anchor.shape for anchor in each}) != 1:
        shapes = ", ".join(str(anchor.shape) for anchor in each[:4]) or type(anchors).__name__
        raise ValueError(f"anchors of shapes {shapes} are not allowed; allowed: three latents of one shape")
    latents = np.stack(each)
    if latents.ndim < 2 or latents.dtype.kind not in "fiu":
        raise ValueError(
            f"anchors, {latents.dtype} of shape {latents.shape}, are not allowed; allowed: three latents, (3, *latent)"
        )
    if fault := plane_fault(latents, settings["slice"]["normalisation"]):
        raise ValueError(f"of the anchors: {fault}")
    functions = Function("generate", generate), None if embed is None else Function("embed", embed)
    through = latent_plane(latents, settings["slice"])
    images, features = sample(*functions, through, nodes, output_range=output_range)
    return _complete(Parts(name, settings, nodes, nodes.points, features, images, latents))


def fit(
    embedding: Any,
    points: Any,
    *,
    images: Any = None,
    extent: Extent | None = None,
    grid: tuple[int, int] | None = None,
    output_range: tuple[float, float] | None = None,
    seed: int | None = None,
    name: str = "study",
    posterior: Section = None,
    free_energy: Section = None,
    phases: Section = None,
    geodesics: Section = None,
) -> Study:
    """The free energy, metric and phases of samples that were embedded elsewhere.

    Samples on the nodes of a grid, in whatever order they come, are put in the order of its nodes, row by row.

    Args:
        embedding: features ``(n, d)``, whose norm does not count.
        points: parameters of each sample, ``(n, 2)``, on a grid or scattered, no two alike.
        images: of each, for figures, see ``map``.
        extent: of the box; by default the one that holds all points.
        grid: nodes of the fields. By default those of the points where they are the nodes of a grid; else as many as
            in the workflow, or as there are points for.
        output_range: see ``map``.
        seed: see ``map``.
        name: of the study.
        posterior: see ``map``.
        free_energy: see ``map``.
        phases: see ``map``.
        geodesics: see ``map``.

    Raises:
        SettingsError: one line for each entry that is not allowed.
        ValueError: one line, if arrays do not fit each other, or nothing tells the samples apart.
        NotConvergedError: if the fit has not converged.
        DegenerateError: if the samples do not determine it.
    """
    from hessgeo.study.functions import to_numpy
    from hessgeo.study.images import Convention
    from hessgeo.study.parts import Parts
    from hessgeo.study.sampling import unit_vectors
    from hessgeo.study.settings import grid_of, study_settings
    from hessgeo.systems.own.points import grid_order

    features = unit_vectors(to_numpy(embedding))
    t = _points(to_numpy(points), len(features))
    low, high = t.min(axis=0).tolist(), t.max(axis=0).tolist()
    known = ((low[0], high[0]), (low[1], high[1])) if extent is None else extent
    sections = {"posterior": posterior, "free_energy": free_energy, "phases": phases, "geodesics": geodesics}
    shape = _nodes(t) if grid is None else grid
    given = {"slice": {"extent": known}, "sampling": {"grid": shape}, "seed": seed, **sections}
    settings = study_settings(given)
    nodes = grid_of(settings)
    if not ((t >= np.array(nodes.extent)[:, 0]) & (t <= np.array(nodes.extent)[:, 1])).all():
        raise ValueError(f"points lie outside the extent {nodes.extent}")
    pictures = None
    if images is not None:
        pictures = to_numpy(images)
        if len(pictures) != len(t):
            raise ValueError(f"{len(pictures)} images are not allowed; allowed: {len(t)}, one a sample")
        pictures = Convention.of(pictures, output_range).pixels(pictures)
    on_nodes = grid_order(t, nodes.extent)
    if on_nodes is not None and on_nodes[0].shape == nodes.shape:
        order = on_nodes[1]
        t, features = nodes.points, features[order]
        pictures = None if pictures is None else pictures[order]
    return _complete(Parts(name, settings, nodes, t, features, pictures))


def open(folder: str | Path, *, geodesics: Section = None) -> Study:
    """A study in a folder, such as ``results/digits``: what the workflow built, or ``Study.save`` wrote.

    Nothing is read before it is asked for; then it is compared with what vouches for it.

    Args:
        folder: of the study.
        geodesics: settings of paths that are asked for later, where they are not the defaults.

    Raises:
        FileNotFoundError: one line, if the folder holds no study.
    """
    from hessgeo.study.folder import Stored

    return Study(Stored(folder, _given(geodesics=geodesics)))


def _given(**entries: Any) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if value is not None}


def _complete(parts: Parts) -> Study:
    """A study whose phases, and all that they follow from, are computed now, so that what fails does so here."""
    assert parts.found
    return Study(parts)


def _points(t: np.ndarray, count: int) -> np.ndarray:
    """Parameters in double precision, of so many samples, each another and along both axes.

    Raises:
        ValueError: one line that says which are not.
    """
    from hessgeo.systems.own.points import equal_points

    if t.shape != (count, 2) or t.dtype.kind not in "fiu" or not np.isfinite(t).all():
        raise ValueError(
            f"points, {t.dtype} of shape {t.shape}, are not allowed; allowed: finite, ({count}, 2), one a sample"
        )
    t = t.astype(float)
    for axis, name in enumerate("ab"):
        if np.ptp(t[:, axis]) == 0:
            raise ValueError(f"points: {name} is {t[0, axis]:g} for every sample, must vary")
        if (far := float(np.abs(t[:, axis]).max())) > FARTHEST:
            raise ValueError(
                f"points: {name} reaches {far:g}, must stay within {FARTHEST:g} of 0: take an offset off"
            )
    if twins := equal_points(t):
        (a, b), (first, second) = t[twins[0]], sorted(twins)
        raise ValueError(f"points: samples {first} and {second} are both at ({a:g}, {b:g}), must differ")
    return t


def _nodes(t: np.ndarray) -> Sequence[int]:
    """Nodes along both axes: those of the points, or the workflow's, no more than there are points."""
    from hessgeo.study.settings import study_settings
    from hessgeo.systems.own.points import grid_order

    if found := grid_order(t):
        return found[0].shape
    na, nb = study_settings({})["sampling"]["grid"]
    most = max(isqrt(len(t)), 8)
    return min(na, most), min(nb, most)
