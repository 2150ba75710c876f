"""The graph of an archive of ``torch.export``, run operator by operator."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hessgeo.weights.exported import OPERATOR, SCALARS, Exported

FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
KEYWORD = 2  # the kind of an argument that is given by its name
STRIDED = 7  # the number of the only layout that is read
# Of the graph's own checks of shapes, which would compare devices too.
CHECKS = ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range", "sym_constrain_range_for_size")


class ExportedGraph(nn.Module):
    """A network that ``torch.export`` wrote.

    Args:
        exported: as ``read_exported`` found it.
        device: where to run it; that of the export is no matter.

    Attributes:
        dtype: the type of its real weights.

    Raises:
        ValueError: if torch has no such operator, or one of them draws noise.
    """

    def __init__(self, exported: Exported, device: torch.device) -> None:
        super().__init__()
        self.device, self.names = device, list(exported.weights)
        self.nodes = [node for node in exported.nodes if not _is_check(node["target"])]
        for k, weight in enumerate(exported.weights.values()):
            tensor = torch.from_numpy(weight.read()).to(device, getattr(torch, weight.dtype))
            self.register_buffer(f"weight_{k}", tensor)
        floats = (weight.dtype for weight in self.buffers() if weight.is_floating_point())
        self.dtype = next(floats, torch.float32)
        self.functions = [_function(node["target"]) for node in self.nodes]
        # What no later operator takes is let go, as torch does it.
        last = {name: k for k, node in enumerate(self.nodes) for name in _names(node["inputs"])}
        self.spent = [
            [name for name in {*_names(node["inputs"])} if last[name] == k]
            for k, node in enumerate(self.nodes)
        ]
        for node, function in zip(self.nodes, self.functions, strict=True):
            if torch.Tag.nondeterministic_seeded in getattr(function, "tags", ()) and not _is_idle(node):
                raise ValueError(f"{exported.file.path} draws its own noise ({node['target']})")

    @torch.inference_mode()
    def forward(self, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        """Some of the tensors of the graph, of named inputs."""
        known: dict[str, Any] = dict(zip(self.names, self.buffers(), strict=True)) | dict(inputs)
        for node, function, spent in zip(self.nodes, self.functions, self.spent, strict=True):
            placed, named = [], {}
            # Archives of before torch 2.6 do not say which arguments stand by their place.
            unsaid = KEYWORD if OPERATOR.fullmatch(node["target"]) else None
            for entry in node["inputs"]:
                value = self._value(entry["arg"], known)
                if (entry.get("kind") or unsaid) == KEYWORD:
                    named[entry["name"]] = value
                else:
                    placed.append(value)
            _keep(known, node["outputs"], function(*placed, **named))
            del placed, named
            for name in spent:
                if name not in outputs:
                    del known[name]
        return [known[name] for name in outputs]

    def _value(self, argument: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
        """An argument of an operator: a tensor or a number that is known by its name, or what the graph writes."""
        ((kind, entry),) = argument.items()
        if kind == "as_none":
            return None
        if kind == "as_tensor":
            return known[entry["name"]]
        if kind in ("as_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"):
            return [self._named(part, known) for part in entry]
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
            return self._named(entry, known)
        if kind == "as_scalar_type":
            return getattr(torch, SCALARS[entry])
        if kind == "as_memory_format":
            return FORMATS[entry]
        if kind == "as_layout" and entry == STRIDED:
            return torch.strided
        if kind == "as_device":
            return self.device
        if kind in ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string"):
            return entry
        raise ValueError(f"an argument of kind {kind}, which nothing here reads")

    def _named(self, part: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
        """A tensor or a number of a list: one that is known by its name, or one that is written out."""
        if "name" in part:
            return known[part["name"]]
        if "as_name" in part:
            return known[part["as_name"]]
        return self._value(part, known)


def _is_check(target: str) -> bool:
    match = OPERATOR.fullmatch(target)
    return match is not None and match["name"] in CHECKS


def _function(target: str) -> Any:
    """The operator of a name that ``read_exported`` let pass."""
    if match := OPERATOR.fullmatch(target):
        packet = getattr(torch.ops.aten, match["name"], None)
        found = getattr(packet, match["overload"], None)
        if found is None:
            raise ValueError(f"torch {torch.__version__} has no operator {target}")
        return found
    library, _, name = target.rpartition(".")
    return getattr({"_operator": operator, "math": math, "torch": torch}[library], name)


def _names(part: Any) -> Iterator[str]:
    """Names of the tensors and numbers that arguments refer to."""
    if isinstance(part, list):
        for entry in part:
            yield from _names(entry)
    elif isinstance(part, dict):
        if "arg" in part:
            yield from _names(part["arg"])
        elif isinstance(name := part.get("name", part.get("as_name")), str):
            yield name
        else:
            for entry in part.values():
                yield from _names(entry)


def _is_idle(node: Mapping[str, Any]) -> bool:
    """Whether an operator that may draw noise is told not to, as dropout out of training and attention without it."""
    given = {entry["name"]: next(iter(entry["arg"].values())) for entry in node["inputs"]}
    name = node["target"].split(".")[3]
    return ("dropout" in name and given.get("train") is False) or (
        "attention" in name and not given.get("dropout_p")
    )


def _keep(known: dict[str, Any], outputs: Sequence[Mapping[str, Any]], found: Any) -> None:
    """Name what an operator gives."""
    if len(outputs) == 1 and next(iter(outputs[0])) not in ("as_tensors", "as_optional_tensors"):
        found = [found]
    elif len(outputs) == 1:
        outputs = [{"as_tensor": part} for part in next(iter(outputs[0].values()))]
    for place, value in zip(outputs, found, strict=True):
        ((_, entry),) = place.items()
        name = entry.get("name", entry.get("as_name")) if isinstance(entry, dict) else None
        if name is not None:
            known[name] = value
