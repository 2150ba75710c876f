"""Generators that map a latent to an image in one pass, exported as TorchScript or ONNX.

A file of either kind holds its network whole: no class of its authors is needed, and no pickle is read.
"""

from __future__ import annotations

import logging
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from hessgeo.files import open_file
from hessgeo.systems.base import System
from hessgeo.systems.slices import LatentSlice

TORCHSCRIPT = (".pt", ".pth", ".ts", ".torchscript")
ONNX = ".onnx"
EXPORT = "export a wrapper whose only input is z, of shape (n, *latent), with everything else fixed"
# Field 1 of an ONNX file, the version of its format, is a whole number and comes first.
ONNX_START = b"\x08"
# What numbers of each ONNX type are in NumPy.
ONNX_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


class Generator(ABC):
    """A network from latents to images.

    Attributes:
        name: the file, for messages.
        latent_shape: shape of one latent where the file says so; an axis of ``None`` may have any length.
        batch: number of latents that it takes at once, if that is fixed.
    """

    name: str
    latent_shape: tuple[int | None, ...] | None = None
    batch: int | None = None

    @abstractmethod
    def __call__(self, z: Float32[np.ndarray, "n *latent"]) -> Float32[np.ndarray, "n *image"]:
        """The images of latents, as the network gives them.

        Raises:
            ValueError: if the network cannot be run on latents of this shape, or gives no single array.
        """


class GeneratorSystem(System):
    """Images of the latents of a slice; a deterministic function of the parameters.

    Args:
        generator: the network.
        latent_slice: the map from parameters to latents.
        size: (height, width) of its images, in pixels.
        channels: of its images, 1 or 3.
        output_range: the values that it gives to black and to full intensity; those beyond are clipped.
        batch_size: images a forward pass, unless the network takes a fixed number; the last batch is padded,
            so that each pass has the same shape and rounds the same way wherever a shard ends.

    Raises:
        ValueError: on a latent slice of another shape than the network's latents, a range that does not
            increase, channels that are neither one nor three, or a size or batch size below one.
    """

    def __init__(
        self,
        generator: Generator,
        latent_slice: LatentSlice,
        *,
        size: tuple[int, int],
        channels: int = 3,
        output_range: tuple[float, float] = (-1.0, 1.0),
        batch_size: int,
    ) -> None:
        shape = latent_slice.latent_shape
        declared = generator.latent_shape
        if declared is not None and not _agree(shape, declared):
            raise ValueError(f"the latent slice has shape {shape}, {generator.name} takes {declared}")
        if channels not in (1, 3):
            raise ValueError(f"channels is {channels}, must be 1 (grey) or 3 (RGB)")
        if len(output_range) != 2 or not -np.inf < output_range[0] < output_range[1] < np.inf:
            raise ValueError(f"output_range is {list(output_range)}, must be [low, high] with low < high")
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size is {list(size)}, must be [height, width] in pixels")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, must be at least 1")
        self.generator, self.latent_slice = generator, latent_slice
        self.low, self.high = map(float, output_range)
        self.batch_size = generator.batch or batch_size
        self.sample_shape = (size[0], size[1], channels)
        self.dtype = np.dtype(np.uint8)

    def sample(
        self, t: Float[np.ndarray, "n 2"], index: Int[np.ndarray, "n"], seed: int
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Draw one image at each parameter point, see ``System.sample``; ``index`` and ``seed`` are not used.

        Raises:
            ValueError: if the network gives images of another shape.
            FloatingPointError: if it gives values that are not finite.
        """
        images = np.empty((len(t), *self.sample_shape), dtype=self.dtype)
        for start in range(0, len(t), self.batch_size):
            rows = np.arange(start, min(start + self.batch_size, len(t)))
            latents = self.latent_slice.latents(t[np.resize(rows, self.batch_size)])
            images[rows] = self.quantise(self.outputs(latents))[: len(rows)]
        return images

    def outputs(self, latents: Float[np.ndarray, "n *latent"]) -> Float32[np.ndarray, "n c h w"]:
        """What the network gives for as many latents as a batch has, checked; see ``sample``."""
        values = self.generator(np.ascontiguousarray(latents, dtype=np.float32))
        height, width, channels = self.sample_shape
        expected = (len(latents), channels, height, width)
        if values.shape != expected:
            raise ValueError(
                f"{self.generator.name} gives images of shape {values.shape}, must be {expected}: "
                "(n, channels, height, width) by the settings size and channels"
            )
        if not np.isfinite(values).all():
            raise FloatingPointError(f"{self.generator.name} gave values that are not finite")
        return values

    def quantise(self, values: Float[np.ndarray, "n c h w"]) -> UInt8[np.ndarray, "n h w c"]:
        """Pixels ``round(255 clip((x - low) / (high - low), 0, 1))``."""
        unit = np.clip((values.astype(np.float64) - self.low) / (self.high - self.low), 0, 1)
        return np.round(255 * unit).astype(np.uint8).transpose(0, 2, 3, 1)


def load_generator(
    checkpoint: str | Path,
    latent_slice: LatentSlice,
    *,
    size: tuple[int, int],
    channels: int = 3,
    output_range: tuple[float, float] = (-1.0, 1.0),
    batch_size: int,
    device: str = "cpu",
) -> GeneratorSystem:
    """Load a generator from a TorchScript archive or an ONNX file, and try it on one batch.

    Args:
        checkpoint: the file, ``.pt``, ``.pth``, ``.ts`` or ``.torchscript``, or ``.onnx``.
        latent_slice: the map from parameters to latents.
        size: (height, width) of its images, in pixels.
        channels: of its images.
        output_range: the values of black and of full intensity.
        batch_size: images a forward pass, unless an ONNX file fixes their number.
        device: where to run the network; ONNX runs on the CPU where its runtime has no CUDA.

    Raises:
        ValueError: on a pickle or another kind of file, a network that needs more than a latent or draws its
            own noise, and what ``GeneratorSystem`` refuses.
        FloatingPointError: if the images hold values that are not finite.
    """
    check_generator(checkpoint)
    path = Path(checkpoint)
    generator = (OnnxGenerator if path.suffix.lower() == ONNX else TorchScriptGenerator)(path, device)
    options: dict[str, Any] = {"size": size, "channels": channels, "output_range": output_range}
    system = GeneratorSystem(generator, latent_slice, **options, batch_size=batch_size)
    corner = np.array([[low for low, _ in latent_slice.extent]])
    latents = latent_slice.latents(np.repeat(corner, system.batch_size, axis=0))
    first, second = system.outputs(latents), system.outputs(latents)
    # A thousandth of the range is a quarter of a grey level; a GPU's sums differ by far less.
    if np.abs(first - second).max() > 1e-3 * (system.high - system.low):
        raise ValueError(
            f"{path} gives two images of one latent: it draws its own noise; export it with the noise fixed"
        )
    return system


def check_generator(checkpoint: str | Path) -> None:
    """Refuse a file that holds no exported network, from its name and its first bytes.

    Raises:
        ValueError: one line that says what it is, and what it must be.
    """
    path = Path(checkpoint)
    suffix = path.suffix.lower()
    if suffix not in (*TORCHSCRIPT, ONNX):
        raise ValueError(
            f"{path} must be a TorchScript archive ({', '.join(TORCHSCRIPT)}) or an ONNX file ({ONNX})"
        )
    with open_file(path, "a TorchScript archive or an ONNX file") as file:
        start = file.read(1)
    if suffix == ONNX:
        if start != ONNX_START:
            raise ValueError(f"{path} is not an ONNX file")
    elif not _is_torchscript(path):
        raise ValueError(
            f"{path} is a pickle or no archive at all, must be TorchScript: a pickle can run code when it is "
            "read, and holds no network without its classes; where the network is at hand, "
            f"torch.jit.save(torch.jit.trace(network, z), {path.stem + '.ts'!r}) exports it"
        )


def _is_torchscript(path: Path) -> bool:
    """Whether a file is what ``torch.jit.save`` writes: a zip archive with the code of its modules."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        inner = {name.partition("/")[2] for name in archive.namelist()}
    return "constants.pkl" in inner and any(name.startswith("code/") for name in inner)


class TorchScriptGenerator(Generator):
    """A module as ``torch.jit.save`` writes it; its code is TorchScript, which cannot reach outside itself.

    Args:
        path: the archive.
        device: where to run it.

    Raises:
        ValueError: if it cannot be read, or its ``forward`` needs more than the latents.
    """

    def __init__(self, path: Path, device: str) -> None:
        # Imported here: settings are checked by this module, and need not wait for torch.
        import torch

        self.name = str(path)
        try:
            self.module = torch.jit.load(path, map_location=device).eval()
        except RuntimeError as error:
            raise ValueError(f"{path} cannot be read as TorchScript: {_line(error)}") from error
        arguments = self.module.forward.schema.arguments[1:]
        needed = [argument.name for argument in arguments if not argument.has_default_value()]
        if len(needed) != 1:
            raise ValueError(f"{path} needs the inputs {', '.join(needed) or 'none'}; {EXPORT}")
        floats = (p.dtype for p in self.module.parameters() if p.is_floating_point())
        self.device, self.dtype = torch.device(device), next(floats, torch.float32)

    def __call__(self, z: Float32[np.ndarray, "n *latent"]) -> Float32[np.ndarray, "n *image"]:
        """See ``Generator``."""
        import torch

        with torch.inference_mode():
            try:
                images = self.module(torch.from_numpy(z).to(self.device, self.dtype))
            except RuntimeError as error:
                raise ValueError(
                    f"{self.name} fails on latents of shape {z.shape}: {_line(error)}"
                ) from error
            if not isinstance(images, torch.Tensor):
                raise ValueError(f"{self.name} gives a {type(images).__name__}, must give one tensor")
            return images.float().cpu().numpy()


class OnnxGenerator(Generator):
    """A graph in an ONNX file, run by onnxruntime.

    Args:
        path: the file.
        device: ``cuda`` is used where onnxruntime has it.

    Raises:
        ValueError: if it cannot be read, needs more than the latents, or gives more than the images.
    """

    def __init__(self, path: Path, device: str) -> None:
        import onnxruntime
        import torch

        self.name = str(path)
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
                logging.getLogger(__name__).warning("onnxruntime has no CUDA: %s runs on the CPU", path)
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        # onnxruntime's errors share no other base.
        except Exception as error:
            raise ValueError(f"{path} cannot be read as ONNX: {_line(error)}") from error
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if len(inputs) != 1:
            raise ValueError(
                f"{path} needs the inputs {', '.join(x.name for x in inputs) or 'none'}; {EXPORT}"
            )
        if len(outputs) != 1:
            raise ValueError(f"{path} gives {', '.join(x.name for x in outputs)}, must give the images alone")
        if inputs[0].type not in ONNX_FLOATS:
            raise ValueError(f"{path} takes a {inputs[0].type}, must take one of {', '.join(ONNX_FLOATS)}")
        self.input, self.dtype = inputs[0].name, ONNX_FLOATS[inputs[0].type]
        if inputs[0].shape:
            # An axis of any length is a name, or nothing.
            lengths = [length if isinstance(length, int) else None for length in inputs[0].shape]
            self.batch, self.latent_shape = lengths[0], tuple(lengths[1:])

    def __call__(self, z: Float32[np.ndarray, "n *latent"]) -> Float32[np.ndarray, "n *image"]:
        """See ``Generator``."""
        try:
            (images,) = self.session.run(None, {self.input: z.astype(self.dtype)})
        except Exception as error:
            raise ValueError(f"{self.name} fails on latents of shape {z.shape}: {_line(error)}") from error
        return np.asarray(images, dtype=np.float32)


def _agree(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(b in (None, a) for a, b in zip(shape, declared, strict=True))


def _line(error: Exception) -> str:
    """The last line of an error's text, where torch and onnxruntime say the cause, at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
