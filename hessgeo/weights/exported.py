"""Archives of ``torch.export`` (.pt2): what they declare, their graph and their weights, read without torch.

Such a file is a zip archive of the graph in JSON and of the bytes of each weight. ``torch.export.load`` is not called:
it loads pickles with their code, and hands expressions of shapes as text to a parser that evaluates them. Here the
graph is read as data, of operators that compute alone, and run one after another; nothing else in the archive is looked
at, and what only a pickle holds is refused.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hessgeo.weights.declared import Declared, NetworkFile, read_or_refuse
from hessgeo.weights.files import open_file
from hessgeo.weights.torch_files import DAMAGE, Tensor, member_names, member_reader

LARGEST_GRAPH = (
    32_000_000  # bytes of JSON, which may take twenty times as many; that of a thousand operators has one
)
SCHEMA = 8  # the version of the format that torch 2.3 to 2.14 write
SCALARS = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 34: "uint32", 35: "uint64",
}  # fmt: skip
"""Types of elements by the numbers that the format gives them."""
# Operators that reach outside of the graph, and those that draw numbers of their own.
OUTSIDE = re.compile(r"from_file|save|_?print|.*record_function.*|.*_to_file")
RANDOM = re.compile(
    r"(rand|bernoulli|multinomial|normal|poisson|binomial|exponential|geometric|cauchy|log_normal|uniform).*|native_dropout"
    r"|.*rrelu_with_noise.*"
)
IN_PLACE = re.compile(r".*[^_]_")  # operators whose first argument becomes the result
OPERATOR = re.compile(r"torch\.ops\.aten\.(?P<name>\w+)\.(?P<overload>\w+)")
# Of numbers, which lengths of axes are.
OF_NUMBERS = re.compile(
    r"_operator\.(add|sub|mul|floordiv|mod|neg|getitem|eq|ne|lt|le|gt|ge|and_|truediv|pow)"
)
OF_SYMBOLS = re.compile(r"torch\.sym_(max|min|not|ite|int|float)|math\.(ceil|floor|trunc)")


@dataclass(frozen=True)
class Exported:
    """The network in an archive, whose weights have not been read.

    Attributes:
        file: what it declares.
        nodes: the operators of its graph as the archive writes them, in order.
        weights: of each name that the graph gives a weight, the weight.
    """

    file: NetworkFile
    nodes: tuple[Mapping[str, Any], ...]
    weights: Mapping[str, Tensor]


def is_exported(path: str | Path) -> bool:
    """Whether a file is what ``torch.export.save`` writes."""
    return any(re.fullmatch(r"[^/]+/models/[^/]+\.json", name) for name in member_names(path))


def read_exported(path: Path) -> Exported:
    """Read the graph of an archive and see that it computes alone.

    Raises:
        ValueError: one line that says what is wrong: another version, an operator that reaches outside or that is not
            known, weights in a pickle, or damage.
    """
    return read_or_refuse(path, "an archive of torch.export", _read)


@lru_cache(maxsize=4)
def _read(path: Path, size: int, changed: int) -> Exported | str:
    """What an archive holds, or what is wrong with it; found once while it stays as long and as old as it is."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = {name.partition("/")[2]: name for name in archive.namelist()}
            models = [name for name in members if re.fullmatch(r"models/[^/]+\.json", name)]
            if len(models) != 1:
                return f"holds {len(models)} graphs of torch.export, must hold one"
            name = Path(models[0]).stem
            graph = _json(archive, members[models[0]])
            weights = _json(archive, members[f"data/weights/{name}_weights_config.json"])["config"]
            constants = _json(archive, members[f"data/constants/{name}_constants_config.json"])["config"]
        if graph["schema_version"]["major"] != SCHEMA:
            return f"is of version {graph['schema_version']['major']} of torch.export, must be {SCHEMA}"
        stored = {("weights", key): entry for key, entry in weights.items()}
        stored |= {("constants", key): entry for key, entry in constants.items()}
        return _described(path, graph["graph_module"], stored, members)
    except _RefusedError as error:
        return str(error)
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return f"is no archive of torch.export, or damaged ({reason})"


class _RefusedError(Exception):
    """What is read, and refused."""


def _json(archive: zipfile.ZipFile, member: str) -> dict[str, Any]:
    with archive.open(member) as file:
        content = file.read(LARGEST_GRAPH + 1)
    if len(content) > LARGEST_GRAPH:
        raise ValueError(f"{member} has more than {LARGEST_GRAPH:,} bytes")
    return json.loads(content)


def _described(
    path: Path, module: dict[str, Any], stored: dict[tuple[str, str], dict[str, Any]], members: dict[str, str]
) -> Exported:
    graph, signature = module["graph"], module["signature"]
    inputs, weights = [], {}
    for spec in signature["input_specs"]:
        ((kind, entry),) = spec.items()
        if kind == "user_input":
            if name := entry["arg"].get("as_tensor", {}).get("name"):
                inputs.append(_declared(graph, name))
        elif kind in ("parameter", "buffer", "tensor_constant"):
            key = entry[f"{kind}_name"]
            place = "constants" if ("constants", key) in stored else "weights"
            weights[entry["arg"]["name"]] = _tensor(path, place, stored[place, key], members)
        elif kind != "constant_input":
            raise _RefusedError(f"takes a {kind}, must take tensors alone")
    outputs = []
    for spec in signature["output_specs"]:
        ((kind, entry),) = spec.items()
        if kind not in ("user_output", "loss_output"):
            raise _RefusedError(f"changes its own weights ({kind}), must be exported in evaluation mode")
        if name := entry["arg"].get("as_tensor", {}).get("name"):
            outputs.append(_declared(graph, name))
    for node in graph["nodes"]:
        written = next((entry["arg"].get("as_tensor", {}).get("name") for entry in node["inputs"]), None)
        if IN_PLACE.fullmatch(_operator(node)) and written in weights:
            raise _RefusedError(f"changes its own weights ({written}), must be exported in evaluation mode")
    nodes, given = tuple(graph["nodes"]), {value.name for value in outputs}
    made = [
        output["as_tensor"]["name"] for node in nodes for output in node["outputs"] if "as_tensor" in output
    ]
    file = NetworkFile(
        path,
        "exported",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        inside={name: _declared(graph, name) for name in made if name not in given},
        random=tuple(sorted({name for node in nodes if RANDOM.fullmatch(name := _operator(node))})),
    )
    return Exported(file, nodes, weights)


def _operator(node: dict[str, Any]) -> str:
    """The name of the operator of a node, seen to be one that computes."""
    target = node["target"]
    match = OPERATOR.fullmatch(target)
    if match and not OUTSIDE.fullmatch(match["name"]):
        return match["name"]
    if OF_NUMBERS.fullmatch(target) or OF_SYMBOLS.fullmatch(target):
        return target
    raise _RefusedError(
        f"uses {target[:100]!r}, which is no operator of torch that computes alone; run_decompositions() of what "
        "is exported may do without"
    )


def _declared(graph: dict[str, Any], name: str) -> Declared:
    meta = graph["tensor_values"][name]
    return Declared(name, _type(meta), tuple(length.get("as_int") for length in meta["sizes"]))


def _type(meta: dict[str, Any]) -> str:
    if meta["dtype"] not in SCALARS:
        raise _RefusedError(
            f"holds numbers of type {meta['dtype']} of torch.export, which nothing here reads"
        )
    return SCALARS[meta["dtype"]]


def _tensor(path: Path, place: str, entry: dict[str, Any], members: dict[str, str]) -> Tensor:
    if entry["use_pickle"] or entry["tensor_meta"] is None:
        raise _RefusedError(
            f"holds {entry['path_name']!r:.100} as a pickle, which can run code when it is read"
        )
    meta = entry["tensor_meta"]
    shape, stride = (tuple(int(n["as_int"]) for n in meta[key]) for key in ("sizes", "strides"))
    if min((*shape, *stride, meta["storage_offset"]["as_int"]), default=0) < 0:
        raise ValueError("a weight of a negative length")
    read = member_reader(path, members[f"data/{place}/{entry['path_name']}"])
    return Tensor(_type(meta), shape, stride, meta["storage_offset"]["as_int"], read)
