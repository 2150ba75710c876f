"""
Four corners
============

A spot that jumps between four corners: map its generator, see its four phases and the way from one to another. It
needs no model, and takes ten seconds: ``python examples/blobs.py [FOLDER]``, results and figures are written to FOLDER
if there is one.

.. image:: /figures/gallery/blobs-1.png
   :alt: Four phases, the free energy, the volume of its metric and the images

.. image:: /figures/gallery/blobs-2.png
   :alt: The shortest path and the straight line, on the images and on the metric

.. literalinclude:: /figures/gallery/blobs.txt
   :language: text
   :caption: What the script says
"""

# sphinx_gallery_thumbnail_path = 'figures/gallery/blobs-1.png'

import sys
from pathlib import Path

import numpy as np

import hessgeo as hg

SIDE = 16  # pixels
X, Y = np.meshgrid(np.linspace(-1.5, 1.5, SIDE), np.linspace(1.5, -1.5, SIDE))
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # anchors that make (a, b) the latent itself


# %%
# The generator is any function from latents to images. This one puts the spot at (tanh a, tanh b) about the middle of
# the box, so that it stays in a corner for most latents and moves fast between them.


def generate(z):
    """Images (n, 16, 16) in [0, 1] of latents (n, 2)."""
    x, y = np.tanh(1.2 * (z.T - 0.5))[..., None, None]
    return np.exp(-((X - x) ** 2 + (Y - y) ** 2) / 2)


def main(folder=None, grid=(24, 24)):
    """Map, look, join two corners, keep."""
    study = hg.map(generate, anchors=CORNERS, normalisation="none", grid=grid, name="blobs")
    path = study.geodesic((-0.5, 1.5), (1.5, 0.2))
    if folder is not None:
        study.save(folder)
        study.plot().savefig(Path(folder, "overview.png"), dpi=200, bbox_inches="tight")
        path.plot().savefig(Path(folder, "geodesic.png"), dpi=200, bbox_inches="tight")
    return study, path


# %%
# A study says what it found, and draws it: phases, free energy, the volume of its metric, images.

if __name__ == "__main__":
    study, path = main(*sys.argv[1:2])
    print(study)
    overview = study.plot()

# %%
# The shortest path in the Fisher metric avoids what the straight line crosses, and comes with its certificate.

if __name__ == "__main__":
    print(path)
    way = path.plot()
