"""The U^2-Net against its published sizes, and on grids that do not halve evenly."""

import pytest
import torch
from torch import nn

from hessgeo.posteriors.u2net import SIZES, U2Net, halve, resize


@pytest.mark.parametrize(("size", "published"), [("full", 44_009_869), ("small", 1_131_181)])
def test_parameter_counts_are_the_published_ones(size, published):
    with torch.device("meta"):  # counts need no memory
        net = U2Net(3, size=size)
    assert sum(weights.numel() for weights in net.parameters()) == published


def test_tiny_has_the_same_topology_with_fewer_channels():
    def layers(size):
        with torch.device("meta"):
            return [type(layer) for layer in U2Net(3, size=size).modules()]

    assert layers("tiny") == layers("small") == layers("full")
    with torch.device("meta"):
        assert sum(weights.numel() for weights in U2Net(3, size="tiny").parameters()) < 150_000


@pytest.mark.parametrize("grid", [(16, 16), (17, 33), (37, 24), (1, 1)])
def test_all_maps_lie_on_the_grid_of_the_input(grid):
    net = U2Net(4, size="tiny").eval()
    with torch.no_grad():
        fused, sides = net(torch.randn(2, 4, *grid))
    assert fused.shape == (2, 1, *grid)
    assert [side.shape for side in sides] == [fused.shape] * 6
    assert torch.isfinite(fused).all()


def test_the_fused_map_is_the_weighted_sum_of_the_sides():
    net = U2Net(2, outputs=3, size="tiny").eval()
    with torch.no_grad():
        fused, sides = net(torch.randn(1, 2, 20, 16))
        flat = torch.cat(sides, dim=1)[0].flatten(1)
        expected = net.fuse.weight[:, :, 0, 0] @ flat + net.fuse.bias[:, None]
    torch.testing.assert_close(
        fused[0].flatten(1), expected, rtol=1e-4, atol=1e-4
    )  # single precision, 18 terms


def test_every_pixel_reaches_every_cell():
    """What lets a net that only convolves name a position from what an image shows."""
    net = U2Net(1, size="tiny").double().eval()
    x = torch.zeros(1, 1, 40, 40, dtype=torch.double, requires_grad=True)
    fused, _ = net(x + 0.1 * torch.randn(1, 1, 40, 40, dtype=torch.double))
    (slope,) = torch.autograd.grad(fused[0, 0, 0, 0], x)
    assert slope[0, 0, -8:, -8:].abs().max() > 0


def test_a_step_moves_every_weight():
    torch.manual_seed(0)
    net = U2Net(2, size="tiny")
    fused, sides = net(torch.randn(3, 2, 16, 16))
    sum(torch.log_softmax(logits.flatten(1), dim=1)[:, 5].sum() for logits in [fused, *sides]).backward()
    # A bias before a normalisation, and a whole channel that a rectifier silences, have a slope of zero.
    weights = [layer.weight for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in weights)


def test_halving_rounds_up_and_resizing_restores_the_grid():
    x = torch.arange(15.0).reshape(1, 1, 3, 5)
    half = halve(x)
    torch.testing.assert_close(half[0, 0], torch.tensor([[6.0, 8.0, 9.0], [11.0, 13.0, 14.0]]))
    assert resize(half, x).shape == x.shape
    assert resize(x, x) is x


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match=f"size 'huge' is not one of {', '.join(SIZES)}"):
        U2Net(3, size="huge")
    with pytest.raises(ValueError, match="at least 1, not 0 and 1"):
        U2Net(0)
