"""The folder of a study: read lazily, as the workflow or ``save`` left it, and written in the same format."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.study.parts import Parts

if TYPE_CHECKING:
    from hessgeo.posteriors.base import Posterior

RESULTS = ("free_energy.nc", "metric.nc", "phases.nc", "phases.json", "posterior.zarr")
REPORTED = ("metric", "phases")  # steps whose numbers an object shows


class Stored(Parts):
    """Results in a folder, each compared with what vouches for it when it is read.

    Args:
        folder: of the study.
        sections: settings that hold from here on, such as ``geodesics``, where they are not the defaults.

    Raises:
        FileNotFoundError: one line, if the folder holds no study.
    """

    def __init__(self, folder: str | Path, sections: Mapping[str, Any]) -> None:
        self.folder, self._sections = Path(folder), dict(sections)
        if missing := next((name for name in RESULTS if not (self.folder / name).exists()), None):
            raise FileNotFoundError(f"{self.folder} holds no finished study: {missing} is missing")
        self.name = self.folder.resolve().name

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """See ``Parts``; what the folder does not tell is by default."""
        from hessgeo.study.settings import study_settings

        nodes = {"slice": {"extent": self.grid.extent}, "sampling": {"grid": self.grid.shape}}
        return study_settings({**nodes, **self._sections})

    @cached_property
    def grid(self) -> Grid:
        """See ``Parts``."""
        if "b" not in self.free_energy.dims:
            raise ValueError(f"{self.folder} holds a study of one parameter, which opens as files alone")
        a, b = (self.free_energy[axis].to_numpy().tolist() for axis in ("a", "b"))
        return Grid(((a[0], a[-1]), (b[0], b[-1])), (len(a), len(b)))

    @cached_property
    def samples(self) -> Path:
        """The sample store, which may be that of another study.

        Raises:
            StoreError: one line, if it cannot be told which it is.
        """
        if known := self.free_energy.attrs.get("samples"):
            return Path(os.path.normpath(self.folder / known))
        return _only(
            sorted((self.folder / "samples").glob("*.zarr")), self.folder / "samples", "sample store"
        )

    @property
    def _embedding_array(self) -> str:
        if known := self.free_energy.attrs.get("embedding"):
            return str(known)
        found = sorted(file.parent for file in (self.samples / "embedding").glob("*/zarr.json"))
        return f"embedding/{_only(found, self.samples, 'embedding').name}"

    @cached_property
    def t(self) -> Float[np.ndarray, "n 2"]:
        """See ``Parts``."""
        return store.read_array(self.samples, "t")

    @cached_property
    def embedding(self) -> Float[np.ndarray, "n d"]:
        """See ``Parts``."""
        return store.read_array(self.samples, self._embedding_array)

    @cached_property
    def images(self) -> Any:
        """See ``Parts``."""
        return store.open_array(self.samples, "image") if (self.samples / "image").exists() else None

    @property
    def pictures(self) -> Any:
        """See ``Parts``; of those in a store no more than asked for are read."""
        return super().pictures if self.images is None else store.describe_array(self.samples, "image")

    @cached_property
    def anchors(self) -> Float[np.ndarray, "3 *latent"] | None:
        """See ``Parts``."""
        file = self.samples.parent.parent / "anchors" / self.samples.stem / "anchors.npy"
        return store.read_npy(file) if file.exists() else None

    @cached_property
    def posterior(self) -> Posterior:
        """See ``Parts``."""
        # Imported here: torch, which comes with it, takes seconds.
        from hessgeo.posteriors import read_posterior

        return read_posterior(self.folder / "posterior.zarr")

    @cached_property
    def free_energy(self) -> xr.Dataset:
        """See ``Parts``."""
        return store.read_dataset(self.folder / "free_energy.nc")

    @cached_property
    def metric(self) -> xr.Dataset:
        """See ``Parts``."""
        return store.read_dataset(self.folder / "metric.nc")

    @cached_property
    def phases(self) -> xr.Dataset:
        """See ``Parts``."""
        return store.read_dataset(self.folder / "phases.nc")

    @cached_property
    def found(self) -> dict[str, Any]:
        """See ``Parts``."""
        found: dict[str, Any] = store.read_json(self.folder / "phases.json")
        return found

    @cached_property
    def numbers(self) -> Mapping[str, Mapping[str, Any]]:
        """See ``Parts``."""
        files = {name: self.folder / "numbers" / f"{name}.json" for name in REPORTED}
        return {name: store.read_json(file) for name, file in files.items() if file.exists()}


def _only(found: list[Path], place: Path, what: str) -> Path:
    """The one path of a list."""
    if len(found) != 1:
        raise store.StoreError(
            f"{place} holds {len(found)} {what}s: which one the study is made from is not noted"
        )
    return found[0]


def save(parts: Parts, folder: str | Path) -> list[Path]:
    """Write the results of a study, and its samples, with what vouches for each.

    Returns:
        The files and folders that were written.

    Raises:
        FileExistsError: one line, if the folder holds something.
    """
    from hessgeo.posteriors import write_posterior

    folder = Path(folder)
    if os.path.lexists(folder) and not folder.is_dir():
        raise FileExistsError(f"{folder} is no folder: save to a new one")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds something already: save to a new folder")
    written, noted = _save_samples(parts, folder)
    write_posterior(folder / "posterior.zarr", parts.posterior)
    store.write_dataset(folder / "free_energy.nc", parts.free_energy.assign_attrs(noted))
    store.write_dataset(folder / "metric.nc", parts.metric)
    store.write_dataset(folder / "phases.nc", parts.phases)
    store.write_json(folder / "phases.json", parts.found)
    for name, numbers in parts.numbers.items():
        store.write_json(folder / "numbers" / f"{name}.json", numbers)
        written.append(folder / "numbers" / f"{name}.json")
    written += [folder / name for name in RESULTS]
    store.vouch(written)
    return written


def _save_samples(parts: Parts, folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Write points, images, embedding and anchors; and say where."""
    count, dimension = parts.embedding.shape
    shard = min(count, parts.settings["sampling"]["shard"])
    shape = () if parts.images is None else tuple(parts.images.shape[1:])
    known = hashlib.sha256(parts.t.tobytes() + np.ascontiguousarray(parts.embedding).tobytes()).hexdigest()[
        :8
    ]
    design = "grid" if parts.on_grid else "points"
    number = "x".join(map(str, parts.grid.shape)) if parts.on_grid else str(count)
    name = "-".join([design, number, f"s{shard}", *(["x".join(map(str, shape))] if shape else []), known])
    samples, array = folder / "samples" / f"{name}.zarr", f"embedding/{known}"
    plane = {key: parts.settings["slice"][key] for key in ("extent", "normalisation")}
    about = {
        "seed": parts.settings["seed"],
        "slice": plane,
        "sampling": {"design": design, "grid": parts.grid.shape},
    }
    pictures: dict[str, Any] = {"image": (shape, "u1")} if shape else {}
    attributes = {"study": folder.name, "settings": about}
    store.create_samples(samples, points=parts.t, arrays=pictures, shard=shard, attributes=attributes)
    store.create_array(samples, array, samples=count, item=(dimension,), dtype="f4", shard=shard)
    for k in range(-(-count // shard)):
        rows = store.shard_rows(samples, array, k)
        store.write_shard(samples, array, k, parts.embedding[rows].astype(np.float32), about={})
        if shape:
            store.write_shard(samples, "image", k, np.asarray(parts.images[rows]), about={})
    groups = ["", "embedding", "t", array, *pictures]
    written = [samples / group / "zarr.json" for group in groups]
    if parts.anchors is not None:
        written.append(folder / "anchors" / name / "anchors.npy")
        store.write_npy(written[-1], parts.anchors)
    return written, {"samples": f"samples/{name}.zarr", "embedding": array}
