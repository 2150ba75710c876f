"""
A morph at even steps
=====================

Frames along the shortest path in the Fisher metric, an equal step of the metric apart, beside the same number of frames
along the straight line: ``python examples/morph.py [STUDY] [MODELS]``, after ``make figures``. The command
``hessgeo morph`` films the same, with more ways to pace it.

.. image:: /figures/gallery/morph-1.png
   :alt: Strips of images along a geodesic and a straight line, with the perceptual step from frame to frame

Above, the frames; below, how far each lies from the one before, in the embedding.

.. literalinclude:: /figures/gallery/morph.txt
   :language: text
   :caption: What the script says
"""

# sphinx_gallery_thumbnail_path = 'figures/gallery/morph-1.png'

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import hessgeo as hg
from hessgeo.features import describe_embedding
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.system import load_denoiser
from hessgeo.systems.slices import LatentSlice

STUDY = sys.argv[1] if len(sys.argv) > 1 else "results/digits"
MODELS = Path(sys.argv[2] if len(sys.argv) > 2 else "results/models/digits")
FRAMES = 16

# %%
# The path, between two corners of the plane.

study = hg.open(STUDY)
path = study.geodesic((-0.7, -0.7), (1.7, 1.7))
print(path)
even = path.equidistant(FRAMES)[0].numpy()
line = np.linspace(even[0], even[-1], FRAMES)

# %%
# The images of both ways, by the model itself: a path does not keep to the nodes of the grid.

plane = LatentSlice(study.anchors, study.grid.extent)
denoiser = load_denoiser(describe_checkpoint(MODELS / "diffusion"), steps=study.settings["system"]["steps"])
clip = describe_embedding("open_clip", MODELS / "clip").load((8, 8, 1))


def frames(points):
    """Images (n, 8, 8, 1) at points of the plane."""
    return denoiser.decode(denoiser.denoise(torch.from_numpy(plane.latents(points)).float()))


ways = {"geodesic, even in the metric": frames(even), "straight line": frames(line)}
steps = {
    name: np.linalg.norm(np.diff(clip(np.asarray(images)), axis=0), axis=1) for name, images in ways.items()
}
for name, step in steps.items():
    print(f"{name}: largest step {step.max():.3f}, sum {step.sum():.3f}")

# %%
# The strips, and how far each frame lies from the one before.

figure = plt.figure(figsize=(7, 3.4), layout="constrained")
panels = figure.subplot_mosaic([["first"], ["second"], ["steps"]], height_ratios=[1, 1, 2.4])
for place, (name, images) in zip(("first", "second"), ways.items(), strict=True):
    strip = np.concatenate(list(np.asarray(images)[..., 0]), axis=1)
    panels[place].imshow(strip, cmap="gray")
    panels[place].set_title(name, fontsize=8)
    panels[place].axis("off")
for name, step in steps.items():
    panels["steps"].plot(np.arange(1, FRAMES), step, marker=".", label=name)
panels["steps"].set(xlabel="frame", ylabel="distance to the frame before", ylim=(0, None))
panels["steps"].legend()
