"""
Geodesics of a metric of one's own
==================================

Any function of torch from points to matrices is a metric. Here two whose shortest paths are known: the sphere, in
colatitude and longitude, and the hyperbolic half plane. What is solved lies on what is known.

.. image:: /figures/gallery/own_metric-1.png
   :alt: Great circles and half circles, solved and known

.. literalinclude:: /figures/gallery/own_metric.txt
   :language: text
   :caption: What the script says
"""

# sphinx_gallery_thumbnail_path = 'figures/gallery/own_metric-1.png'

import matplotlib.pyplot as plt
import numpy as np
import torch

from hessgeo.geodesics import geodesics
from hessgeo.metrics.known import HalfPlaneMetric, SphereMetric

# %%
# The metrics, written out as anyone would.


def sphere(t):
    """``ds^2 = d theta^2 + sin^2(theta) d phi^2``."""
    return torch.diag_embed(torch.stack([torch.ones_like(t[..., 0]), t[..., 0].sin() ** 2], dim=-1))


def half_plane(t):
    """``ds^2 = (dx^2 + dy^2) / y^2``."""
    return torch.eye(2, dtype=t.dtype) / t[..., 1, None, None] ** 2


# %%
# Pairs of points, solved at once: a path is a piecewise cubic, and says whether it is certified.

angles = torch.linspace(0.4, 2.7, 6, dtype=torch.float64)
starts = torch.stack([torch.full_like(angles, 0.5), torch.zeros_like(angles)], dim=-1)
ends = torch.stack([torch.full_like(angles, 2.2), angles], dim=-1)
on_sphere = geodesics(sphere, starts, ends)

reach = torch.linspace(0.5, 4.0, 6, dtype=torch.float64)
left = torch.stack([-reach, torch.full_like(reach, 0.4)], dim=-1)
right = torch.stack([reach, torch.full_like(reach, 0.4)], dim=-1)
in_plane = geodesics(half_plane, left, right)

for name, found, known, ends_of in (
    ("sphere", on_sphere, SphereMetric(), (starts, ends)),
    ("half plane", in_plane, HalfPlaneMetric(), (left, right)),
):
    off = (found.length / known.distance(*ends_of) - 1).abs().max()
    print(
        f"{name}: {int(found.certified.sum())} of {len(found)} certified, length off by {float(off):.1e} at most"
    )

# %%
# Dots are solved, lines are the closed forms: great circles, and half circles about the edge.

figure = plt.figure(figsize=(7, 3.2), layout="constrained")
globe, plane = figure.add_subplot(1, 2, 1, projection="3d"), figure.add_subplot(1, 2, 2)
s = torch.linspace(0, 1, 60, dtype=torch.float64)


def in_space(t):
    """Points of the sphere, ``(3, n)``."""
    theta, phi = t.T
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])


u, v = np.meshgrid(np.linspace(0, np.pi, 19), np.linspace(0, 2 * np.pi, 37))
globe.plot_wireframe(
    *in_space(np.stack([u.ravel(), v.ravel()], axis=1)).reshape(3, *u.shape), color="0.88", linewidth=0.4
)
for row, (exact, points) in enumerate(
    zip(SphereMetric().geodesic(starts, ends, s).numpy(), on_sphere.equidistant(12).numpy(), strict=True)
):
    globe.plot(*in_space(exact), color=f"C{row}", linewidth=1)
    globe.scatter(*in_space(points), color=f"C{row}", s=8, depthshade=False)
globe.set_axis_off()
globe.set_box_aspect((1, 1, 1), zoom=1.4)
globe.view_init(20, 75)
globe.set_title("sphere")
for row, (exact, points) in enumerate(
    zip(HalfPlaneMetric().geodesic(left, right, s).numpy(), in_plane.equidistant(12).numpy(), strict=True)
):
    plane.plot(*exact.T, color=f"C{row}", linewidth=1)
    plane.plot(*points.T, ".", color=f"C{row}")
plane.axhline(0, color="0.15", linewidth=1)
plane.set(aspect="equal", xlabel="x", ylabel="y", title="hyperbolic half plane")
