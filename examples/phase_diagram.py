"""
An exact phase diagram
======================

The open exclusion process (TASEP): particles enter a row of sites at the rate alpha, hop to the right, and leave at
the rate beta. It is solved exactly, and its phase diagram is known in the limit: low density, high density, maximal
current. The Fisher metric of its states finds the same lines at finite size.

.. image:: /figures/gallery/phase_diagram-1.png
   :alt: Density and Fisher metric of the open exclusion process over its two rates

.. literalinclude:: /figures/gallery/phase_diagram.txt
   :language: text
   :caption: What the script says
"""

# sphinx_gallery_thumbnail_path = 'figures/gallery/phase_diagram-1.png'

# %%
# The Fisher metric is estimated from exact samples and the exact score, 200 states at each node of a grid.

import matplotlib.pyplot as plt
import numpy as np

from hessgeo.grids import Grid
from hessgeo.systems.solvable.tasep import Tasep

system = Tasep(64)
grid = Grid(((0.15, 0.9), (0.15, 0.9)), (26, 26))
metric, error = system.estimated_metric(grid.points, samples=200, seed=0)
largest = np.linalg.eigvalsh(metric)[:, 1].reshape(grid.shape)

# %%
# A state at every node, and its density: the order parameter.

states = system.sample(grid.points, np.arange(len(grid.points)), seed=0)
density = states.mean(axis=1).reshape(grid.shape)

# %%
# Both maps, with the lines of the infinite system: alpha = beta up to 1/2, where the density jumps, and from there
# alpha = 1/2 and beta = 1/2, where it does not.

figure, panels = plt.subplots(1, 2, figsize=(7, 3.1), layout="constrained")
(a0, a1), (b0, b1) = grid.extent
shown = {"origin": "lower", "extent": (a0, a1, b0, b1), "aspect": "equal"}
fields = (
    (density, {"cmap": "cividis", "vmin": 0, "vmax": 1}, "density of one state a node"),
    (np.log10(largest), {"cmap": "magma"}, r"$\log_{10}$ largest eigenvalue of $g$"),
)
for axes, (field, how, title) in zip(panels, fields, strict=True):
    figure.colorbar(axes.imshow(field.T, **shown, **how), ax=axes)
    axes.plot([a0, 0.5], [b0, 0.5], color="white", linewidth=1.2)
    axes.plot([0.5, 0.5], [0.5, b1], color="white", linewidth=1.2, linestyle="--")
    axes.plot([0.5, a1], [0.5, 0.5], color="white", linewidth=1.2, linestyle="--")
    axes.set(xlabel=r"entry rate $\alpha$", ylabel=r"exit rate $\beta$", title=title)
for place, name in (((0.27, 0.7), "low"), ((0.7, 0.27), "high"), ((0.7, 0.7), "maximal\ncurrent")):
    panels[0].text(*place, name, color="white", ha="center", fontweight="bold")

# %%
# Across the line of coexistence the metric has a ridge, across the dashed ones it has none: a jump is seen, and a
# transition of higher order is not, at this size.

a, b = grid.axes
on_line = largest[np.abs(a[:, None] - b) < 1e-9][a < 0.45].mean()
beside = largest[(a < 0.45)[:, None] & (b < 0.45) & (np.abs(a[:, None] - b) > 0.12)].mean()
print(f"largest eigenvalue on the line of coexistence over that beside it: {on_line / beside:.1f}")
