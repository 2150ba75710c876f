"""The list of the papers' figures and tables: what each shows, in our words, and what the papers report."""

from __future__ import annotations

from dataclasses import dataclass

HESSIAN, GEODESICS = "Lobashev et al. (ICML 2025)", "Kim et al. (2024)"
STABLE_DIFFUSION = (
    "Stable Diffusion 1.5 (Dreamshaper 8), 50 DDIM steps, guidance 5, eta 0, 60,000 images of 512 x 512 pixels a "
    "triplet of latents, CLIP ViT-L/14"
)
NO_CAPTION = "The text at hand names the topic of this figure, not its caption."


@dataclass(frozen=True)
class Entry:
    """A figure or a table of a paper.

    Attributes:
        name: of its file, such as ``figure-07``.
        paper: where it stands.
        shows: what it shows, in our words.
        theirs: the setting of the paper.
        reports: what the paper reports.
        sources: what makes it, each ``room:result``, stacked in this order.
        judge: the function of ``evaluation.paper_outcomes`` that says what came out.
        numbers: further numbers that this reads, in the same way.
        missing: why no result here makes it.
        setting: what it is made with here, where that is no study and no system of the run.
    """

    name: str
    paper: str
    shows: str
    theirs: str
    reports: str
    sources: tuple[str, ...] = ()
    judge: str = ""
    numbers: tuple[str, ...] = ()
    missing: str = ""
    setting: str = ""

    @property
    def ending(self) -> str:
        """Of its file."""
        return "tex" if "table" in self.name else "svg"

    @property
    def title(self) -> str:
        """What it is called in its paper."""
        kind, _, number = self.name.removeprefix("kim-").partition("-")
        return f"{'Table' if kind == 'table' else 'Fig.'} {int(number)}"


ENTRIES = (
    Entry("figure-01", HESSIAN,
          "The posterior of N samples, taken to the power 1/N, closes in on the exponential of minus a Bregman "
          "divergence: Theorem 3.1, computed on Ising states.",
          "a sketch", "Convergence, almost surely, as N grows.",
          ("solvable:posterior_sharpening",), "sharpening"),
    Entry("figure-02", HESSIAN,
          "A convex function with its tangent, the gap between them, which is the Bregman divergence, and beside the "
          "exponential of that gap the posterior of samples: computed on a family whose free energy is exact.",
          "a sketch", "The exponential of the divergence approximates the posterior.",
          ("paper/computed:bregman_divergence",), "bregman"),
    Entry("figure-03", HESSIAN,
          "Ising model in a field: both derivatives of the reconstructed free energy, and the free energy itself.",
          "128 x 128 sites, 540,000 states", "The reconstruction follows the exact solution (errors: Table 1).",
          ("solvable:ising_free_energy",), "potentials"),
    Entry("figure-04", HESSIAN, "Exclusion process: the reconstructed free energy over the exact one.",
          "16,384 sites", "Near exact, but for the edges of the domain.",
          ("solvable:tasep_free_energy",), "potentials"),
    Entry("figure-05", HESSIAN, "Free energy of a diffusion sampler on a plane of its latents, by image embeddings.",
          STABLE_DIFFUSION, "Several phases, parted by sharp boundaries.",
          ("study:free_energy",), "landscape", ("study:numbers",)),
    Entry("figure-06", HESSIAN,
          "Ever smaller windows about a place on a phase boundary, in several precisions, and what its Lipschitz "
          "constant and its dimension do as they shrink.",
          "down to 1e-8 of the plane, float16", "A fractal boundary, whose Lipschitz constant diverges.",
          ("study:zoom_strip", "study:zoom_scales"), "zoom", ("study:zoom/zoom",)),
    Entry("figure-07", HESSIAN,
          "Images along geodesics and along straight lines; the images of the plane with the geodesics; first and "
          "second derivatives of the free energy.",
          STABLE_DIFFUSION, "Geodesics are perceptually smoother: CLIP length 72.3 +- 4.0 for 73.6 +- 3.5.",
          ("study:interpolation_strips", "study:geodesic_mosaic", "study:first_derivatives",
           "study:second_derivatives"),
          "paths", ("tables:table2",)),
    Entry("figure-08", HESSIAN, "The flow of two modes, which parts at the boundary between them (Proposition 4.1).",
          "two Gaussian modes of width sigma", "The rate at which paths part diverges as sigma falls to zero.",
          ("paper/computed:mode_pair",), "mode_pair", setting="modes at 1 and -1, of width .2 to 1, on a line"),
    Entry("figure-09", HESSIAN, "The free energy of a sampler with noise.",
          STABLE_DIFFUSION.replace("eta 0", "eta 0.1"), "Noise smooths the landscape and its boundaries.",
          ("noisy:free_energy",), "smoothing", ("study:numbers", "noisy:numbers")),
    Entry("figure-10", HESSIAN, "The free energy of a generator that is no diffusion model.",
          "StyleGAN 3, CLIP", "A single dominant phase.",
          ("generator:free_energy",), "one_phase", ("generator:numbers",)),
    Entry("figure-11", HESSIAN, "Images of the plane, the posterior that their embeddings give, and the fitted one.",
          STABLE_DIFFUSION, "The convex model follows the posterior of embeddings.",
          ("study:posteriors",), "posteriors"),
    Entry("figure-12", HESSIAN, "First and second derivatives of the free energy, over the images of the plane.",
          STABLE_DIFFUSION, "Regions of constant slope are visually distinct phases; jumps part them.",
          ("study:first_derivatives_over_images", "study:second_derivatives_over_images"), "plateaus"),
    Entry("figure-13", HESSIAN, "The slopes of the free energy with the grid of images laid over them.",
          STABLE_DIFFUSION, "Regions of constant slope are visually distinct phases.",
          ("study:first_derivatives_over_images",), "plateaus"),
    Entry("table-1", HESSIAN, "Errors of free energies and their derivatives, of several estimators.",
          "Ising 128 x 128, 540,000 states; exclusion process of 16,384 sites",
          "Ising .0883, .1106, .1237; exclusion process .0112, .1165, .1135.",
          ("tables:table1",), "table_1", ("solvable:numbers",)),
    Entry("table-2", HESSIAN, "Lengths and curvatures of geodesics, straight lines and other paths.",
          f"{STABLE_DIFFUSION}; 500 pairs", "CLIP length 72.3 for 73.6, pixels 2.77e6 for 2.76e6, curvature .367.",
          ("tables:table2",), "table_2", ("tables:table2",)),
    Entry("kim-figure-01", GEODESICS, "The shortest path depends on what a walker prefers.", "a sketch",
          "Three paths, each the best by its own preference.",
          missing="not in this version: a sketch, of which kim-figure-02 is the computed form"),
    Entry("kim-figure-02", GEODESICS, "Shortest paths through a density as lam falls.", "lam from 5 to 0.05",
          "The smaller lam, the closer the path keeps to the data.",
          ("density:generative_lambda",), "nearer_the_data"),
    Entry("kim-figure-03", GEODESICS, "Points joined to all others within epsilon.", "two values of epsilon",
          "One piece if epsilon is large enough, several if not.",
          ("density:generative_graphs",), "connected"),
    Entry("kim-figure-04", GEODESICS, "Error of lengths on graphs against the number of points.",
          "points drawn uniformly and from the density", "The error falls with the number of points (Theorem 2.5).",
          ("density:generative_convergence",), "convergence"),
    Entry("kim-figure-05", GEODESICS, "Affinity of all points of toy sets to one of them.", "toy sets in the plane",
          "Geodesic affinity keeps to the cluster of its point, Euclidean does not.",
          ("density:generative_affinity",), "affinity"),
    Entry("kim-figure-06", GEODESICS, "Clusters of toy sets by Euclidean and by geodesic distances.",
          "toy sets in the plane", f"Geodesic distances find the clusters. {NO_CAPTION}",
          ("density:generative_clustering",), "clusters"),
    Entry("kim-figure-07", GEODESICS, "Images in the plane by both distances.", "images",
          f"Geodesic pictures keep classes apart. {NO_CAPTION}", ("density:generative_embedding",), "pictures"),
    Entry("kim-figure-08", GEODESICS, "Images along geodesics and lines.", "images",
          f"Images along geodesics stay likely. {NO_CAPTION}", ("density:generative_interpolation",), "likelier"),
    Entry("kim-figure-09", GEODESICS, "Images along geodesics and lines, further pairs: the same figure here.",
          "images",
          f"As Fig. 8. {NO_CAPTION}", ("density:generative_interpolation",), "likelier"),
)  # fmt: skip
