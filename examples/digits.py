"""
Digits
======

What ``make figures`` found in the embedded diffusion model of handwritten digits, read from its folder:
``python examples/digits.py [FOLDER]``, ``results/digits`` if left out.

.. image:: /figures/gallery/digits-1.png
   :alt: Phases of the default slice with their medoids

Six phases of a plane of latents, named by nobody: each is a basin between ridges of the Fisher metric.

.. image:: /figures/gallery/digits-2.png
   :alt: A geodesic and the straight line between two corners, on the images and on the metric

The shortest path between two images, beside the straight line.

.. literalinclude:: /figures/gallery/digits.txt
   :language: text
   :caption: What the script says
"""

# sphinx_gallery_thumbnail_path = 'figures/gallery/digits-1.png'

import sys

import hessgeo as hg

folder = sys.argv[1] if len(sys.argv) > 1 else "results/digits"
study = hg.open(folder)
print(study)

# %%
# Figures are the workflow's own, by name.

phases = study.plot("phases")

# %%
# A geodesic is solved in a moment, certified or not, and says why.

path = study.geodesic((-0.7, -0.7), (1.7, 1.7))
print(path)
way = path.plot()

# %%
# Every part is an xarray dataset, too.

largest = study.metric.to_xarray()["largest_eigenvalue"]
print(
    f"largest eigenvalue of the metric: median {float(largest.median()):.3g}, at most {float(largest.max()):.3g}"
)
