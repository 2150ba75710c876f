"""Networks in files, run on arrays: ONNX by onnxruntime, TorchScript and archives of ``torch.export`` by torch.

A file of each kind holds its network whole: no class of its authors is needed, and no pickle of Python is read.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from hessgeo.weights.declared import NetworkFile
from hessgeo.weights.exported import is_exported, read_exported
from hessgeo.weights.files import check_file
from hessgeo.weights.onnx import read_onnx
from hessgeo.weights.torch_files import is_torchscript
from hessgeo.weights.torchscript import read_torchscript

TORCH = (".pt", ".pth", ".ts", ".torchscript", ".pt2")
ONNX = ".onnx"
KINDS = (
    f"a TorchScript archive ({', '.join(TORCH[:-1])}), one of torch.export (.pt2) or an ONNX file ({ONNX})"
)

Arrays = Mapping[str, Shaped[np.ndarray, "*shape"]]


def read_network(path: str | Path) -> NetworkFile:
    """What the network in a file declares, without running any of it, or importing what runs it.

    Raises:
        ValueError: one line, on a pickle or another kind of file, and on one that reaches outside of itself.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*TORCH, ONNX):
        raise ValueError(f"{path} must be {KINDS}")
    check_file(path, "a TorchScript archive, one of torch.export or an ONNX file")
    if suffix == ONNX:
        return read_onnx(path)
    if is_torchscript(path):
        return read_torchscript(path)
    if is_exported(path):
        return read_exported(path).file
    raise ValueError(
        f"{path} is a pickle or no archive at all, must be TorchScript or of torch.export: a pickle can run code "
        "when it is read, and holds no network without its classes; where the network is at hand, "
        f"torch.export.save(torch.export.export(network, (z,)), {path.stem + '.pt2'!r}) exports it"
    )


def load_network(file: NetworkFile, outputs: Sequence[str], device: str = "cpu") -> Network:
    """Load the network of a file.

    Args:
        file: as ``read_network`` found it.
        outputs: names of what it is to give.
        device: where to run it; ONNX runs on the CPU where its runtime has no CUDA.

    Raises:
        ValueError: if it cannot be read.
    """
    kinds: dict[str, Callable[..., Network]] = {
        "onnx": OnnxNetwork,
        "torchscript": TorchScriptNetwork,
        "exported": ExportedNetwork,
    }
    return kinds[file.kind](file, outputs, device)


class Network(ABC):
    """A network from named arrays to arrays.

    Args:
        file: what it declares.
        outputs: names of what it is to give.
        device: where to run it.
    """

    def __init__(self, file: NetworkFile, outputs: Sequence[str], device: str) -> None:
        self.file, self.outputs, self.name = file, list(outputs), str(file.path)
        self.types = {value.name: value.type for value in (*file.inputs, *file.optional)}
        self._load(device)

    def __call__(self, inputs: Arrays) -> list[Shaped[np.ndarray, "*shape"]]:
        """What the network gives: real numbers as float32, or whole numbers of its own type.

        Raises:
            ValueError: one line, if the network cannot be run on arrays of these shapes, or gives no arrays.
        """
        try:
            found = self._run(inputs)
        # Errors of the two libraries share no other base.
        except Exception as error:
            if type(error).__name__ == "OutOfMemoryError":
                raise
            shapes = ", ".join(f"{name} of shape {np.shape(value)}" for name, value in inputs.items())
            raise ValueError(f"{self.name} fails on {shapes}: {last_line(error)}") from error
        return [array.astype(np.float32) if array.dtype.kind == "f" else array for array in found]

    @abstractmethod
    def _load(self, device: str) -> None: ...

    @abstractmethod
    def _run(self, inputs: Arrays) -> list[np.ndarray]: ...


class OnnxNetwork(Network):
    """A graph in an ONNX file, run by onnxruntime; see ``Network``."""

    def _load(self, device: str) -> None:
        import onnxruntime
        import torch

        options = onnxruntime.SessionOptions()
        # Its own default is every core, whatever a job may have.
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.log_severity_level = 3
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.startswith("cuda"):
            if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
                number = torch.device(device).index or 0
                providers.insert(0, ("CUDAExecutionProvider", {"device_id": number}))
            else:
                logging.getLogger(__name__).warning("onnxruntime has no CUDA: %s runs on the CPU", self.name)
        given = {value.name for value in self.file.outputs}
        further = [name for name in self.outputs if name not in given]
        source: str | bytes = self.name
        if further:
            source = self.file.path.read_bytes() + as_outputs(further)
            folder = str(self.file.path.parent.resolve())
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        try:
            self.session = onnxruntime.InferenceSession(source, options, providers=providers)
        except Exception as error:
            raise ValueError(f"{self.name} cannot be read as ONNX: {last_line(error)}") from error

    def _run(self, inputs: Arrays) -> list[np.ndarray]:
        given = {name: np.asarray(value, dtype=self.types[name]) for name, value in inputs.items()}
        return self.session.run(self.outputs, given)


def as_outputs(names: Sequence[str]) -> bytes:
    """What makes tensors inside of an ONNX graph outputs of it, put at the end of its file.

    Of messages that stand twice in such a file the second is merged into the first: this is a ModelProto (field 7) of a
    GraphProto (field 12) of ValueInfoProto (field 1) with nothing but names.
    """
    values = b"".join(_field(12, _field(1, name.encode())) for name in names)
    return _field(7, values)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


class TorchNetwork(Network):
    """A network that torch runs; see ``Network``.

    Attributes:
        device: where it runs.
        dtype: of real numbers whose type the file does not say.
    """

    device: Any
    dtype: Any

    def _tensor(self, name: str, value: Any) -> Any:
        """An input on the device, in the type that the file says; a number where it asks for one."""
        import torch

        kind = self.types[name]
        if kind in ("float", "int", "bool"):
            return {"float": float, "int": int, "bool": bool}[kind](np.asarray(value).item())
        tensor = torch.from_numpy(np.array(value))
        known = getattr(torch, kind, None)
        real = self.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self.device, known if isinstance(known, torch.dtype) else real)

    @staticmethod
    def _array(tensor: Any) -> np.ndarray:
        # NumPy has no bfloat16.
        return (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()


class TorchScriptNetwork(TorchNetwork):
    """A module as ``torch.jit.save`` writes it, whose code was seen to compute and nothing else.

    TorchScript can read and write files; see ``hessgeo.weights.torchscript`` for what is refused, and what is not.
    """

    def _load(self, device: str) -> None:
        import torch

        try:
            self.module = torch.jit.load(self.name, map_location=device).eval()
        except RuntimeError as error:
            raise ValueError(f"{self.name} cannot be read as TorchScript: {last_line(error)}") from error
        floats = (p.dtype for p in self.module.parameters() if p.is_floating_point())
        self.device, self.dtype = torch.device(device), next(floats, torch.float32)

    def _run(self, inputs: Arrays) -> list[np.ndarray]:
        import torch

        given = {name: self._tensor(name, value) for name, value in inputs.items()}
        with torch.inference_mode():
            found = self.module(**given)
        parts = found if isinstance(found, tuple) else (found,)
        if not all(isinstance(part, torch.Tensor) for part in parts):
            raise ValueError(f"it gives a {type(found).__name__}, must give tensors")
        return [self._array(parts[int(name)]) for name in self.outputs]


class ExportedNetwork(TorchNetwork):
    """The graph of an archive of ``torch.export``, run operator by operator; see ``hessgeo.weights.exported``."""

    def _load(self, device: str) -> None:
        import torch

        from hessgeo.weights.exported_graph import ExportedGraph

        self.device = torch.device(device)
        self.graph = ExportedGraph(read_exported(self.file.path), self.device)
        self.dtype = self.graph.dtype

    def _run(self, inputs: Arrays) -> list[np.ndarray]:
        given = {name: self._tensor(name, value) for name, value in inputs.items()}
        return [self._array(tensor) for tensor in self.graph(given, self.outputs)]


def last_line(error: Exception) -> str:
    """The last line of an error's text, where torch and onnxruntime say the cause, at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
