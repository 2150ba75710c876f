"""The explorer of a study in a folder: what its page shows, and whether a page is up to date."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hessgeo import store
from hessgeo.explorer import Content, Layer, assemble, make_atlas, study_layers
from hessgeo.explorer.atlas import Atlas, grid_cells, scattered_cells
from hessgeo.explorer.rows import Rows, measured_rows
from hessgeo.pipeline.explorer import BESIDE, PAGE, RESULTS, digests, source_digest
from hessgeo.pipeline.paths import rows_of, study_metrics
from hessgeo.study.folder import Stored

TITLES = {"fisher": "Fisher", "embedding": "Embedding (pull-back)", "density": "Density of samples"}
MARK = '<meta name="made-of" content="'  # before the digest of what a page was made of


def explorer_content(parts: Stored) -> Content:
    """What the page of a study shows.

    Raises:
        StoreError: if a result is not what was written.
        ValueError: one line, if it is a study of one parameter.
    """
    beside = {name: _beside(parts.folder / name) for name in BESIDE}
    return Content(
        name=parts.name,
        grid=parts.grid,
        free_energy=parts.free_energy,
        layers=_layers(parts, beside),
        found=parts.found,
        posterior=parts.posterior,
        metrics=_metrics(parts),
        titles=TITLES,
        atlas=_atlas(parts),
        rows=_rows(parts),
        geodesics=beside["geodesics.nc"],
        windows=beside["zoom/windows.nc"],
        made_of=made_of(parts.folder),
    )


def explorer_page(parts: Stored, *, live: str | None = None) -> str:
    """The page of a study, as HTML.

    Args:
        parts: its results.
        live: see ``explorer.assemble``.

    Raises:
        StoreError, ValueError: as ``explorer_content``.
    """
    return assemble(explorer_content(parts), live=live)


def write_page(folder: Path) -> Path:
    """Write the page of a study into its folder, unless it is there of the same results.

    Raises:
        FileNotFoundError: one line, if the folder holds no study.
        StoreError, ValueError: see ``explorer_page``.
    """
    parts, page = Stored(folder, {}), folder / PAGE
    if not up_to_date(folder):
        store.withdraw([page])
        store.write_text(page, explorer_page(parts))
        store.vouch([page])
    return page


def up_to_date(folder: Path) -> bool:
    """Whether the page of a study is there, as it was written, of the results that are there now."""
    page = folder / PAGE
    if not page.exists() or store.fault(page) is not None:
        return False
    with page.open(encoding="utf-8") as file:
        head = file.read(4096)
    return f'{MARK}{made_of(folder)}"' in head


def made_of(folder: Path) -> str:
    """Digest of all that a page is made of: results, and its source."""
    known = sorted(digests(folder, (*RESULTS, *BESIDE)).items())
    return hashlib.sha256(repr((known, source_digest())).encode()).hexdigest()[:16]


def _beside(path: Path) -> xr.Dataset | None:
    """A result that a study need not have; one that nothing vouches for is left out."""
    return store.read_dataset(path) if path.exists() and store.fault(path) is None else None


def _layers(parts: Stored, beside: dict[str, xr.Dataset | None]) -> list[Layer]:
    about = (parts.free_energy, parts.metric, parts.phases, parts.grid)
    return study_layers(*about, history=beside["history.nc"], safety=beside["safety.nc"])


def _metrics(parts: Stored) -> dict[str, Any]:
    """The metrics in which geodesics are solved: as the target ``table2`` has them, with the same settings."""
    rows, density = {}, None
    if parts.on_grid:
        rows["embedding"] = rows_of(np.asarray, parts.embedding.__getitem__, parts.grid)
        if parts.posterior.kernel != "network":
            density = parts.posterior.log_normaliser.reshape(parts.grid.shape)
    fisher = parts.free_energy["fisher_metric"].to_numpy()
    found = study_metrics(fisher, rows, density, parts.grid, parts.settings["geodesics"])
    return {name: one.metric for name, one in found.items()}


def _atlas(parts: Stored) -> Atlas | None:
    if not (parts.samples / "image").exists():
        return None
    pictures = parts.pictures
    if parts.on_grid:
        columns, rows = parts.grid.shape
        cells, shape = grid_cells((columns, rows))
    else:
        cells, shape = scattered_cells(len(parts.t))
    height, width, channels = pictures.shape[1:]
    read: Callable[[np.ndarray], Any] = pictures.__getitem__
    return make_atlas(read, (height, width, channels), cells, shape)


def _rows(parts: Stored) -> Rows | None:
    return measured_rows(parts.posterior, parts.embedding, parts.grid)
