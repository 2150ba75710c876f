"""A spot that jumps between four corners: map its generator, see its four phases and the way from one to another.

Run: python examples/blobs.py [FOLDER]; results and figures are written to FOLDER, ``blobs`` if left out.
"""

import sys
from pathlib import Path

import numpy as np

import hessgeo as hg

SIDE = 16  # pixels
X, Y = np.meshgrid(np.linspace(-1.5, 1.5, SIDE), np.linspace(1.5, -1.5, SIDE))
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # anchors that make (a, b) the latent itself


def generate(z):
    """Images (n, 16, 16) in [0, 1] of latents (n, 2): a spot at (tanh a, tanh b), about the middle of the box."""
    x, y = np.tanh(1.2 * (z.T - 0.5))[..., None, None]
    return np.exp(-((X - x) ** 2 + (Y - y) ** 2) / 2)


def main(folder, grid=(24, 24)):
    """Map, look, join two corners, keep."""
    study = hg.map(generate, anchors=CORNERS, normalisation="none", grid=grid, name="blobs")
    path = study.geodesic((-0.5, 1.5), (1.5, 0.2))
    study.save(folder)
    study.plot().savefig(Path(folder, "overview.png"), dpi=200, bbox_inches="tight")
    path.plot().savefig(Path(folder, "geodesic.png"), dpi=200, bbox_inches="tight")
    return study, path


if __name__ == "__main__":
    for found in main(sys.argv[1] if len(sys.argv) > 1 else "blobs"):
        print(found)
