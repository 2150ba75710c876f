"""Every figure by name: what it shows, and how much drawing it takes.

A name is that of the module beside this one which draws the figure, of the caption in ``workflow/report``, and of the
files that the figure is saved in. The workflow calls ``draw(*results, **settings)`` of that module, with what
``reads`` and ``settings`` name; where the numbers of a figure must be made of the results first, the module has a
function ``gather`` that takes these instead, and returns the arguments of ``draw`` by name.

The workflow reads this list whenever it starts: modules are imported by the job that draws.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure of the workflow.

    Attributes:
        name: of its module, its caption and its files.
        label: what the report calls it.
        reads: the results that it shows, in the order in which its module takes them. Of a study those that
            ``hessgeo.pipeline.figures`` lists; of densities files; of solvable systems ``estimates``, ``truths``,
            ``samples`` and ``network``, which its module takes together as ``evaluation.tables.Case``, a system each.
        settings: the settings that its module takes by name.
        needs: the property of a study without which it is not drawn; every study has it if None.
        mem_mb: memory of its job, MB.
        runtime: time of its job.
    """

    name: str
    label: str
    reads: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    needs: str | None = None
    mem_mb: int = 4_000
    runtime: str = "30m"


# Of every study.
STUDY = (
    Figure("mosaic", "mosaic", ("phases", "points", "images"), ("grid", "tiles"), needs="is_plane"),
    Figure("free_energy", "free energy", ("free_energy",), needs="is_plane"),
    Figure("first_derivatives", "first derivatives", ("free_energy", "phases"), needs="is_plane"),
    Figure("second_derivatives", "second derivatives", ("free_energy", "phases"), needs="is_plane"),
    Figure("metric", "metric", ("metric", "phases"), needs="is_plane"),
    Figure("phases", "phases", ("fields", "phases", "images"), needs="is_plane"),
    Figure("posteriors", "posteriors", ("free_energy", "posterior", "phases", "images", "embedding"),
           ("grid", "sources"), needs="is_plane"),
    Figure("lipschitz", "lipschitz", ("fields", "phases"), needs="is_plane"),
    Figure("distances", "distances", ("free_energy", "phases", "points"), ("grid", "smoothing", "floor"),
           needs="maps_distances"),
    Figure("voronoi", "nearest medoids", ("free_energy", "fields", "phases", "points"),
           ("grid", "smoothing", "floor"), needs="maps_distances"),
    Figure("resolution_scan", "resolution scan", ("scan",), needs="is_scanned"),
    Figure("error_bars", "error bars", ("free_energy",), needs="is_plane"),
    Figure("calibration", "calibration", ("calibration",), needs="is_calibrated"),
    Figure("coordinates", "coordinates", ("free_energy", "fields", "phases"), needs="learns_coordinates"),
    Figure("profile", "profile", ("free_energy", "metric", "phases", "posterior", "points", "images"),
           ("grid", "along"), needs="is_line"),
    Figure("inversion", "inversion", ("reconstructions", "anchor_numbers"), ("anchor_sources", "image_shape"),
           needs="inverts_images"),
)  # fmt: skip

# Of studies whose paths are solved, by the target table2.
PATHS = (
    Figure("geodesic_mosaic", "geodesics", ("free_energy", "paths", "scores", "phases", "images"),
           ("grid", "tiles", "shown", "smoothing", "floor")),
    Figure("interpolation_strips", "interpolation strips", ("strips",)),
)  # fmt: skip

# Of studies whose sampler takes steps, by the target history.
HISTORY = (
    Figure("history", "history", ("history", "history_fields", "predictions", "images")),
    Figure("history_maps", "phases through time", ("history_fields", "predictions"), ("grid", "frames")),
)

# Of studies whose phases are tested, by the target stability.
STABILITY = (Figure("stability", "stability", ("fields", "stability", "agreements"), needs="is_tested"),)

# Of the zoom of a study, by the target zoom.
ZOOM = (
    Figure("zoom_strip", "zoom", ("zoom_windows", "zoom_verdicts")),
    Figure("zoom_scales", "boundary against scale", ("zoom_table", "zoom_verdicts")),
)

# Of which seeds are safe, by the target safety.
SAFETY = (Figure("safety", "safe seeds", ("safety_fields", "safety", "phases", "images"), needs="is_tested"),)

# Of its morph, by the target morph.
MORPH = (Figure("morph", "morph", ("morph",), needs="is_tested"),)

# Of its refinement, by the target refine.
REFINEMENT = (Figure("refinement", "refinement", ("refined", "refined_numbers")),)

# Of their histories side by side, by the same target.
HISTORIES = Figure(
    "history_comparison", "{comparison}, histories", ("history", "history_fields"), ("labels",)
)

# Of studies side by side.
COMPARISON = Figure("routes", "{comparison}", ("free_energy", "metric", "phases"), ("labels",))

# Of what is measured between them, by the target compare.
DIFFERENCES = Figure("model_differences", "{comparison}, differences", ("differences", "measured"))

# In its place where studies differ in the noise of their sampler alone.
NOISE = Figure("noise_scan", "{comparison}, noise", ("noise_maps", "noise", "noise_numbers"))

# Of systems with exact answers, by the target table1.
SOLVABLE = (
    Figure("ising_free_energy", "Ising free energy", ("estimates", "truths")),
    Figure("tasep_free_energy", "TASEP free energy", ("estimates", "truths")),
    Figure("learned_statistics", "learned statistics", ("samples", "network")),
    Figure("sample_convergence", "error against samples", ("estimates", "truths")),
    Figure("posterior_sharpening", "Theorem 3.1", settings=("draws",)),
    Figure("hessian_convergence", "Theorem 3.2", ("estimates", "truths")),
    Figure("finite_size_scaling", "finite-size scaling", settings=("sizes", "samples")),
    Figure("curvature_comparison", "curvature", ("estimates", "truths")),
    Figure("fisher_comparison", "Fisher metrics", ("estimates", "truths")),
    Figure("noisy_flow", "noise of the sampler"),
)

# Of a study and of a solvable system, for the figures of the paper alone, by the target paper.
PAPER = tuple(
    Figure(f"{order}_derivatives_over_images", f"{order} derivatives over images",
           ("free_energy", "fields", "phases", "points", "images"), ("grid", "tiles"), needs="is_plane")
    for order in ("first", "second")
)  # fmt: skip
PAPER_SOLVABLE = (Figure("bregman_divergence", "Bregman divergence"), Figure("mode_pair", "two modes"))

# Of the geodesics of densities, by the target generative_geodesics.
DENSITY = (
    Figure("generative_lambda", "paths against lambda", ("lambda_sweep.nc",)),
    Figure("generative_graphs", "epsilon-graphs", ("graphs.nc",)),
    Figure("generative_convergence", "convergence", ("point_convergence.csv", "node_convergence.csv")),
    Figure("generative_affinity", "affinity", ("affinity.nc",)),
    Figure("generative_clustering", "clusters", ("clustering.csv",)),
    Figure("generative_embedding", "embeddings", ("embedding.nc",)),
    Figure("generative_interpolation", "interpolation", ("interpolation.nc",)),
)
