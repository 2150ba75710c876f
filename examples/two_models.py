"""
Two models on the same latents
==============================

The sampler of the digits in 25 steps and in 3, on the same plane of latents: what changes, cell by cell? The workflow
does the same for any two studies (``snakemake compare``); here it is in a script:
``python examples/two_models.py [MODELS]``, after ``make figures``.

.. image:: /figures/gallery/two_models-1.png
   :alt: Phases by 25 steps and by 3, and the distance between the images of both at each latent

Phases by 25 steps (A) and by 3 (B), of the same colour where they overlap most. How far apart the images of both lie
(C), with the boundaries of A in white and those of B dashed: most of what changes lies at boundaries.

.. image:: /figures/gallery/two_models-2.png
   :alt: Images of both samplers at the latents where they differ most

The same latents by both samplers, where their images lie farthest apart in each phase.

.. literalinclude:: /figures/gallery/two_models.txt
   :language: text
   :caption: What the script says
"""

# sphinx_gallery_thumbnail_path = 'figures/gallery/two_models-1.png'

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import hessgeo as hg
from hessgeo.evaluation.model_differences import (
    Blocks,
    agreement,
    boundary_shift,
    image_distance,
    matched_labels,
)
from hessgeo.features import describe_embedding
from hessgeo.figures import style
from hessgeo.figures.phases import colours_of, draw_map
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.system import load_denoiser

MODELS = Path(sys.argv[1] if len(sys.argv) > 1 else "results/models/digits")
GRID = (24, 24)

# %%
# A sampler with its number of steps is a function from latents to images; CLIP, one from images to features.

checkpoint = describe_checkpoint(MODELS / "diffusion")
clip = describe_embedding("open_clip", MODELS / "clip").load((8, 8, 1))
anchors = hg.random_anchors(38, checkpoint.latent_shape)


def mapped(steps):
    """The study of the plane by so many steps."""
    denoiser = load_denoiser(checkpoint, steps=steps)

    def generate(z):
        return denoiser.decode(denoiser.denoise(z))

    return hg.map(generate, clip, anchors=anchors, grid=GRID, name=f"{steps}-steps")


many, few = mapped(25), mapped(3)
print(many, few, sep="\n")

# %%
# A grid of cells is no sample of independent ones: intervals come from blocks of cells.

first, label = many.phases.label, matched_labels(many.phases.label, few.phases.label)
blocks = Blocks.over(GRID, seed=0)
kept, alike = blocks.share(label == first), agreement(first, label, blocks)
shift = boundary_shift(first, label)
apart = image_distance(many.embedding, few.embedding).reshape(GRID)
print(f"cells that keep their phase: {kept.value:.3f} [{kept.low:.3f}, {kept.high:.3f}]")
print(f"adjusted Rand index: {alike.value:.3f} [{alike.low:.3f}, {alike.high:.3f}]")
print(f"shift of boundaries: median {shift.median:.2f} grid steps, 90 % below {shift.upper:.2f}")
inside = apart[label == first]
print(f"images apart: median {np.median(inside):.2f} where the phase is kept, ", end="")
print(f"{np.median(apart[label != first]):.2f} where it is not")

# %%
# The maps, and where the images moved.

a, b = many.grid.axes
with style.theme():
    figure, panels = plt.subplots(1, 3, figsize=(7.4, 2.7), sharey=True, layout="constrained")
    colours = colours_of(sorted({*np.unique(first).tolist(), *np.unique(label).tolist()}))
    for axes, study, field in zip(panels, (many, few), (first, label), strict=False):
        draw_map(axes, field, a, b, colours)
        style.draw_boundaries(axes, study.phases.boundaries)
        axes.set_title(study.parts.name.replace("-", " "))
    image = panels[2].imshow(apart.T, origin="lower", extent=style.pixel_extent(a, b), cmap="viridis", vmin=0)
    style.draw_boundaries(panels[2], many.phases.boundaries)
    for line in few.phases.boundaries:
        panels[2].plot(*np.array(line["points"]).T, color="white", linewidth=0.8, linestyle=(0, (2, 2)))
    panels[2].set_title("distance of the images")
    figure.colorbar(image, ax=panels[2], label="in the embedding")
    for axes in panels:
        axes.set(xlabel="$a$", xlim=many.grid.extent[0], ylim=many.grid.extent[1], aspect="equal")
    for axes, letter in zip(panels, "ABC", strict=True):
        axes.set_title(letter, loc="left", fontweight="bold")
    panels[1].set_ylabel("")

# %%
# The images themselves, in each phase where they lie farthest apart.

names = [phase["label"] for phase in many.phases.phases]
farthest = [int(np.argmax(np.where(first == name, apart, -1))) for name in names]
with style.theme():
    pictures, rows = plt.subplots(2, len(names), figsize=(7.4, 2.7), layout="constrained")
    for row, study in zip(rows, (many, few), strict=True):
        for axes, node in zip(row, farthest, strict=True):
            axes.imshow(study.images[node][..., 0], cmap="gray")
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(study.parts.name.replace("-", " "))
    for axes, name, node in zip(rows[0], names, farthest, strict=True):
        axes.set_title(f"phase {name}, {apart.ravel()[node]:.2f} apart")
