"""Generators that map a latent to an image in one pass, exported as TorchScript or ONNX.

A file of either kind holds its network whole: no class of its authors is needed, and no pickle of Python is read.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Shaped, UInt8

from hessgeo.systems.generator_trial import try_generator
from hessgeo.systems.images import eight_bits
from hessgeo.systems.onnx_header import OnnxHeader, read_onnx_header
from hessgeo.systems.sliced import Conditions, SlicedSystem
from hessgeo.systems.slices import LatentSlice
from hessgeo.systems.torchscript import EXPORT, check_torchscript
from hessgeo.weights.files import check_file
from hessgeo.weights.torch_files import is_torchscript

TORCHSCRIPT = (".pt", ".pth", ".ts", ".torchscript")
ONNX = ".onnx"
FLOATS = ("float32", "float16", "float64")
DEFAULT_RANGE = (-1.0, 1.0)


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
    def __call__(self, z: Float32[np.ndarray, "n *latent"]) -> Shaped[np.ndarray, "n *image"]:
        """The images of latents, as the network gives them: float32, or whole numbers of its own type.

        Raises:
            ValueError: if the network cannot be run on latents of this shape, or gives no single array.
        """


class GeneratorSystem(SlicedSystem):
    """Images of the latents of a slice; a deterministic function of the parameters.

    Args:
        generator: the network.
        latent_slice: the map from parameters to latents.
        size: (height, width) of its images, in pixels.
        channels: of its images, 1 or 3.
        output_range: the values that it gives to black and to full intensity; those beyond are clipped. A network
            that gives uint8 means 0 to 255, whatever stands here.
        batch_size: as in ``SlicedSystem``, unless the network takes a fixed number.

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
        output_range: tuple[float, float] = DEFAULT_RANGE,
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
        super().__init__(latent_slice, (size[0], size[1], channels), batch_size=generator.batch or batch_size)
        self.generator = generator
        self.low, self.high = map(float, output_range)

    def generate(
        self,
        latents: Float[np.ndarray, "n *latent"],
        index: Int[np.ndarray, "n"],
        seed: int,
        conditions: Conditions,
    ) -> UInt8[np.ndarray, "n h w c"]:
        """See ``SlicedSystem``; ``index`` and ``seed`` are not used.

        Raises:
            ValueError: if the network gives images of another shape.
            FloatingPointError: if it gives values that are not finite.
        """
        return self.quantise(self.outputs(latents))

    def outputs(self, latents: Float[np.ndarray, "n *latent"]) -> Shaped[np.ndarray, "n c h w"]:
        """What the network gives for as many latents as a batch has, float32 or uint8, checked; see ``sample``."""
        values = self.generator(np.ascontiguousarray(latents, dtype=np.float32))
        height, width, channels = self.sample_shape
        expected = (len(latents), channels, height, width)
        if values.shape != expected:
            raise ValueError(_other_images(self.generator.name, values.shape, expected))
        if values.dtype not in (np.float32, np.uint8):
            raise ValueError(f"{self.generator.name} gives {values.dtype}, must give real numbers or uint8")
        if values.dtype == np.uint8:
            check_eight_bits(self.generator.name, (self.low, self.high))
        if not all(np.isfinite(image).all() for image in values):
            raise FloatingPointError(f"{self.generator.name} gave values that are not finite")
        return values

    @property
    def fixed_batch(self) -> int | None:
        """Number of latents that the network takes at once, if that is fixed."""
        return self.generator.batch

    def quantise(self, values: Shaped[np.ndarray, "n c h w"]) -> UInt8[np.ndarray, "n h w c"]:
        """Pixels ``round(255 clip((x - low) / (high - low), 0, 1))``; eight bits are pixels already."""
        if values.dtype == np.uint8:
            return values.transpose(0, 2, 3, 1)
        pixels = np.empty((len(values), *values.shape[2:], values.shape[1]), np.uint8)
        # One image at a time, into its place: a list of them all would be a second copy.
        for image, shown in zip(values, pixels, strict=True):
            shown[:] = eight_bits(image, self.low, self.high).transpose(1, 2, 0)
        return pixels


def load_generator(
    checkpoint: str | Path,
    latent_slice: LatentSlice,
    *,
    size: tuple[int, int],
    channels: int = 3,
    output_range: tuple[float, float] = DEFAULT_RANGE,
    batch_size: int,
    device: str = "cpu",
) -> GeneratorSystem:
    """Load a generator from a TorchScript archive or an ONNX file, and try it on a few latents.

    Args:
        checkpoint: the file, ``.pt``, ``.pth``, ``.ts`` or ``.torchscript``, or ``.onnx``.
        latent_slice: the map from parameters to latents.
        size: (height, width) of its images, in pixels.
        channels: of its images.
        output_range: the values of black and of full intensity.
        batch_size: images a forward pass, unless an ONNX file fixes their number.
        device: where to run the network; ONNX runs on the CPU where its runtime has no CUDA.

    Raises:
        ValueError: on a pickle or another kind of file, a network that needs more than a latent, and what
            ``GeneratorSystem`` and ``try_generator`` refuse.
        FloatingPointError: if the images hold values that are not finite.
    """
    check_generator(checkpoint)
    path = Path(checkpoint)
    generator = (OnnxGenerator if path.suffix.lower() == ONNX else TorchScriptGenerator)(path, device)
    options: dict[str, Any] = {"size": size, "channels": channels, "output_range": output_range}
    system = GeneratorSystem(generator, latent_slice, **options, batch_size=batch_size)
    try_generator(system)
    return system


def check_generator(
    checkpoint: str | Path,
    *,
    latent: tuple[int, ...] | None = None,
    size: tuple[int, int] | None = None,
    channels: int = 3,
    output_range: tuple[float, float] = DEFAULT_RANGE,
) -> None:
    """Refuse a file that holds no exported network, or another one than described, without running any of it.

    Args:
        checkpoint: the file.
        latent: shape of one latent, where it is known.
        size: (height, width) of its images, where it is known.
        channels: of its images.
        output_range: the values of black and of full intensity.

    Raises:
        ValueError: one line that says what it is, and what it must be.
    """
    path = Path(checkpoint)
    suffix = path.suffix.lower()
    if suffix not in (*TORCHSCRIPT, ONNX):
        raise ValueError(
            f"{path} must be a TorchScript archive ({', '.join(TORCHSCRIPT)}) or an ONNX file ({ONNX})"
        )
    check_file(path, "a TorchScript archive or an ONNX file")
    if suffix == ONNX:
        image = None if size is None else (channels, *size)
        header = read_onnx_header(path)
        _check_onnx(path, header, latent, image)
        if header.outputs[0].type == "uint8":
            check_eight_bits(path, output_range)
    elif is_torchscript(path):
        check_torchscript(path)
    else:
        raise ValueError(
            f"{path} is a pickle or no archive at all, must be TorchScript: a pickle can run code when it is "
            "read, and holds no network without its classes; where the network is at hand, "
            f"torch.jit.save(torch.jit.trace(network, z), {path.stem + '.ts'!r}) exports it"
        )


def check_eight_bits(path: Path | str, output_range: tuple[float, float]) -> None:
    """Refuse a range for a network that gives eight bits, unless it is the default or says the same.

    Raises:
        ValueError: one line.
    """
    if tuple(output_range) not in (DEFAULT_RANGE, (0, 255)):
        raise ValueError(f"{path} gives uint8, which means 0 to 255: output_range must be left out")


def generator_files(checkpoint: str | Path) -> list[str]:
    """Every file that a generator is read from: its own, and those beside an ONNX file that hold its weights.

    Raises:
        ValueError: as ``read_onnx_header``.
    """
    path = Path(checkpoint)
    companions = read_onnx_header(path).companions if path.suffix.lower() == ONNX else ()
    return [str(path), *map(str, companions)]


def _check_onnx(
    path: Path, header: OnnxHeader, latent: tuple[int, ...] | None, image: tuple[int, ...] | None
) -> None:
    """Refuse a graph that is no map from latents to images; of the shapes given, if any."""
    if len(header.inputs) != 1:
        raise ValueError(
            f"{path} needs the inputs {', '.join(value.name for value in header.inputs) or 'none'}; {EXPORT}"
        )
    if len(header.outputs) != 1:
        names = ", ".join(value.name for value in header.outputs)
        raise ValueError(f"{path} gives {names}, must give the images alone")
    if header.random:
        raise ValueError(f"{path} draws its own noise ({', '.join(header.random)}); {EXPORT}")
    (z,), (images,) = header.inputs, header.outputs
    if z.type not in FLOATS:
        raise ValueError(f"{path} takes latents of type {z.type}, must be one of {', '.join(FLOATS)}")
    if images.type not in (*FLOATS, "uint8"):
        raise ValueError(f"{path} gives images of type {images.type}, must be {', '.join(FLOATS)} or uint8")
    if latent is not None and z.shape is not None and not _agree((None, *latent), z.shape):
        raise ValueError(
            f"{path} takes latents of shape {_shown(z.shape)}, must be {_shown((None, *latent))}"
        )
    batch = z.shape[0] if z.shape else None
    if image is not None and images.shape is not None and not _agree((batch, *image), images.shape):
        raise ValueError(_other_images(path, images.shape, (batch, *image)))


def _other_images(path: Path | str, found: Sequence[int | None], expected: Sequence[int | None]) -> str:
    """The line that refuses images of another shape."""
    last = [expected[0], *expected[2:], expected[1]]
    layout = ", channels last (NHWC)" if len(found) == 4 and _agree(last, found) else ""
    return (
        f"{path} gives images of shape {_shown(found)}{layout}, must be {_shown(expected)}: (n, channels, height, "
        "width) by the settings size and channels"
    )


def _shown(shape: Sequence[int | None]) -> str:
    return f"({', '.join('n' if length is None else str(length) for length in shape)})"


def _agree(shape: Sequence[int | None], declared: Sequence[int | None]) -> bool:
    """Whether two shapes can be one; an axis of None may have any length."""
    return len(shape) == len(declared) and all(
        None in (a, b) or a == b for a, b in zip(shape, declared, strict=True)
    )


class TorchScriptGenerator(Generator):
    """A module as ``torch.jit.save`` writes it, whose code was seen to compute and nothing else.

    TorchScript can read and write files; see ``hessgeo.systems.torchscript`` for what is refused, and what is not. ONNX
    has no such operators.

    Args:
        path: the archive.
        device: where to run it.

    Raises:
        ValueError: if it cannot be read, and as ``check_torchscript``.
    """

    def __init__(self, path: Path, device: str) -> None:
        # Imported here: settings are checked by this module, and need not wait for torch.
        import torch

        check_torchscript(path)  # before it is loaded, which runs some of its code
        self.name = str(path)
        try:
            self.module = torch.jit.load(path, map_location=device).eval()
        except RuntimeError as error:
            raise ValueError(f"{path} cannot be read as TorchScript: {_line(error)}") from error
        floats = (p.dtype for p in self.module.parameters() if p.is_floating_point())
        self.device, self.dtype = torch.device(device), next(floats, torch.float32)

    def __call__(self, z: Float32[np.ndarray, "n *latent"]) -> Shaped[np.ndarray, "n *image"]:
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
            # NumPy has no bfloat16.
            return (images.float() if images.is_floating_point() else images).cpu().numpy()


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

        self.name, header = str(path), read_onnx_header(path)
        _check_onnx(path, header, None, None)
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
        (z,) = header.inputs
        self.input, self.dtype = z.name, np.dtype(z.type)
        if z.shape:
            self.batch, self.latent_shape = z.shape[0], z.shape[1:]

    def __call__(self, z: Float32[np.ndarray, "n *latent"]) -> Shaped[np.ndarray, "n *image"]:
        """See ``Generator``."""
        try:
            (images,) = self.session.run(None, {self.input: z.astype(self.dtype)})
        except Exception as error:
            raise ValueError(f"{self.name} fails on latents of shape {z.shape}: {_line(error)}") from error
        return images.astype(np.float32) if images.dtype.kind == "f" else images


def _line(error: Exception) -> str:
    """The last line of an error's text, where torch and onnxruntime say the cause, at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
