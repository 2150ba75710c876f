"""
Generative geodesics on moons
=============================

Shortest paths where the data are: in the metric of a density (Kim et al., *(Deep) Generative Geodesics*, 2024) roads
through dense regions are short. A constant lambda says how short: where it is large against the density the metric is
Euclid's, where it is small the inverse density's.

.. image:: /figures/gallery/moons-1.png
   :alt: Paths over a density of two moons, and distances from one end

.. literalinclude:: /figures/gallery/moons.txt
   :language: text
   :caption: What the script says
"""

# sphinx_gallery_thumbnail_path = 'figures/gallery/moons-1.png'

import math

import matplotlib.pyplot as plt
import numpy as np
import torch

from hessgeo.densities.toys import moons
from hessgeo.geodesics import geodesics
from hessgeo.geodesics.eikonal import distance_map
from hessgeo.grids import Grid

# %%
# Two half circles of points whose density is known, and two points of the upper one.

data = moons(400, seed=0)
box = ((-1.5, 2.5), (-1.0, 1.5))
start, end = torch.tensor([[-1.0, 0.05]]).double(), torch.tensor([[1.0, 0.05]]).double()

# %%
# The same pair under four constants, each a multiple of the median density of the data. A path along the moon and one
# across the gap are both shortest among their neighbours: the solver starts from a shortest path on a grid, too, and
# holds what it found against the distance through any valley.

median = float(data.density.log_prob(data.points).median())
multiples = (0.1, 1, 3, 30)
paths = {}
for multiple in multiples:
    metric = data.density.metric(log_p0=median, log_lam=median + math.log(multiple))
    found = paths[multiple] = geodesics(metric, start, end, box=box, valleys=True)
    print(f"lambda {multiple} medians: length {float(found.length):.3f}, certified {bool(found.certified)}")

# %%
# Distances from one point to all others, by the eikonal equation: what is near is what the moon joins.

grid = Grid(box, (161, 101))
metric = data.density.metric(log_p0=median, log_lam=median + math.log(multiples[0]))
distances = distance_map(metric, start[0].numpy(), grid).values

# %%
# Left the paths over the density; right the distances from the left end, with the smallest constant.

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.9), layout="constrained", sharey=True)
with torch.no_grad():
    log_p = data.density.log_prob(torch.from_numpy(grid.points)).numpy().reshape(grid.shape)
left.contourf(*grid.axes, np.exp(log_p).T, levels=20, cmap="Greys")
for k, (multiple, found) in enumerate(paths.items()):
    left.plot(*found.points[0].numpy().T, color=f"C{k}", label=f"{multiple}")
left.plot(*torch.cat([start, end]).numpy().T, "k.")
figure.legend(
    title=r"$\lambda$ / median of $p$", loc="outside lower left", ncols=4, fontsize=7, title_fontsize=7
)
shown = right.contourf(*grid.axes, distances.T, levels=24, cmap="viridis")
right.scatter(*data.points.numpy().T, s=3, color="white", alpha=0.6)
right.plot(*start.numpy().T, "o", color="tab:red")
figure.colorbar(shown, ax=right, label="distance", shrink=0.65)
left.set_title("paths over the density")
right.set_title("distance from the left end")
for axes in (left, right):
    axes.set_aspect("equal")
