"""A process that reads files as the project does, each in a child whose memory and time are bounded.

It is asked in lines of JSON, ``[reader, path]``, and answers in lines: what the file was refused with, a digest of what
it holds, or how the reading ended otherwise.
"""

import hashlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import xarray as xr

from hessgeo.features.file import FeatureFile
from hessgeo.store import read_array, read_dataset, read_npy, read_table, verify
from hessgeo.store.results import read_json
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.images import header_shape, load_image
from hessgeo.systems.latent_files import load_latents
from hessgeo.systems.own.images import describe_images
from hessgeo.systems.own.points import read_points
from hessgeo.weights.exported import is_exported, read_exported
from hessgeo.weights.networks import read_network
from hessgeo.weights.pickles import convert_pickle
from hessgeo.weights.read import tensor_header
from hessgeo.weights.torch_files import named_tensors, read_torch_file

LATENTS, IMAGE, COUNT = (3, 2, 4), (8, 8, 3), 4
MEMORY = 512 << 20  # bytes beside what the process has anyway
SECONDS = 10  # of processor time
PATIENCE = 120  # seconds, for a reader that waits and does nothing


def digest(*values):
    """A digest of arrays and of what else is said of them."""
    found = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            found.update(f"{value.dtype} {value.shape}".encode())
            found.update(np.ascontiguousarray(value).tobytes())
        else:
            found.update(repr(value).encode(errors="surrogatepass"))
    return found.hexdigest()


def _torch(path):
    tensors = named_tensors(read_torch_file(path))
    # Views of one number may be as long as they say; who reads them asks for their shape first.
    small = {
        name: tensor for name, tensor in tensors.items() if int(np.prod(tensor.shape, dtype=object)) < 10**6
    }
    return digest(*(part for name, tensor in sorted(small.items()) for part in (name, tensor.read())))


def _converted(path):
    target = Path(f"{path}.safetensors")
    convert_pickle(path, target)
    return digest(tensor_header(target).shapes)


def _network(path):
    found = read_network(path)
    if is_exported(path):
        weights = read_exported(Path(path)).weights
        for tensor in weights.values():
            tensor.read()
    return digest(found.inputs, found.outputs, found.optional)


def _images(path):
    found = describe_images(path)
    return digest(found.read(np.arange(min(found.count, COUNT))))


def _points(path):
    found = read_points(path)
    return digest(found.t, found.names)


def _features(path):
    file = FeatureFile(path)
    count, width = file.shape
    return digest(count, width, file.rows(np.arange(min(count, COUNT))))


def _samples(path):
    states = {name: verify(path, name) for name in ("t", "images")}
    values = [read_array(path, name) for name in states]
    return digest(*values, states)


def _dataset(path):
    found = read_dataset(path)
    return digest(*(part for name in sorted(found.variables) for part in (name, found[name].values)))


READERS = {
    "nothing": lambda path: "",
    "latents": lambda path: digest(load_latents(path, LATENTS)),
    "weights": lambda path: digest(sorted(tensor_header(path).shapes.items())),
    "torch": _torch,
    "converted": _converted,
    "network": _network,
    "image": lambda path: digest(load_image(path, IMAGE)),
    "image header": lambda path: digest(header_shape(path)),
    "images": _images,
    "points": _points,
    "features": _features,
    "folder": lambda path: digest(describe_checkpoint(path).latent_shape),
    "samples": _samples,
    "dataset": _dataset,
    "table": lambda path: digest(read_table(path).to_csv()),
    "array": lambda path: digest(read_npy(path)),
    "json": lambda path: digest(read_json(path)),
}


def _limit():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(reader, path):
    try:
        return {"digest": READERS[reader](path)}
    except (ValueError, FileNotFoundError) as error:
        # Of its own package alone: a line that another wrote names no file, and is no more than one by chance.
        return {"refused": str(error), "kind": type(error).__name__}
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the answer
        return {"ended": f"{type(error).__name__}: {error}", "where": traceback.format_exc()[-3_000:]}


def ask(reader, path):
    """What comes of a file, read in a child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _limit()
        with os.fdopen(write, "w") as out:
            json.dump(_answer(reader, path), out)
        os._exit(0)
    os.close(write)
    text, end = b"", time.monotonic() + PATIENCE
    while select.select([read], [], [], max(0.0, end - time.monotonic()))[0] and (
        part := os.read(read, 1 << 16)
    ):
        text += part
    if time.monotonic() >= end:
        os.kill(child, signal.SIGKILL)
    os.close(read)
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    found = json.loads(text) if code == 0 and text else {"ended": f"exit status {code}"}
    return {**found, "seconds": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1024}


def main():
    """Answer lines until there are no more."""
    # What readers import on their way is imported once.
    import pyarrow.parquet  # noqa: F401
    import safetensors.numpy
    import zarr

    if "torch" in sys.argv:
        import safetensors.torch  # noqa: F401
    zarr.config.set({"async.concurrency": 1, "threading.max_workers": 1})
    xr.Dataset({"x": ("n", np.zeros(2))}).to_netcdf(engine="h5netcdf")
    for line in sys.stdin:
        sys.stdout.write(json.dumps(ask(*json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
