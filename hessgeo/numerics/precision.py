"""Networks in another precision: all weights and activations rounded to it, on the CPU too."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

HALVES = (torch.float16, torch.bfloat16)


def in_precision(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The same network in a precision, in place: its weights are rounded, and what it computes in between.

    In half precision on the CPU convolutions and linear layers sum products of rounded numbers in single precision and
    round once, as accelerators do; the CPU's own kernels are ten times slower.
    """
    network.to(dtype)
    if dtype in HALVES and next(network.parameters()).device.type == "cpu":
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                bias = None if module.bias is None else module.bias.detach().float()
                weight = module.weight.detach().float()
                # An attribute of the module, in which the network finds it before the method of its class.
                vars(module)["forward"] = (
                    partial(_convolved, module, weight, bias)
                    if isinstance(module, nn.Conv2d)
                    else partial(_multiplied, weight, bias)
                )
    return network


def _convolved(module: nn.Conv2d, weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    return module._conv_forward(x.float(), weight, bias).to(x.dtype)


def _multiplied(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    return functional.linear(x.float(), weight, bias).to(x.dtype)
