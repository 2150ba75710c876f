"""What the explorer's page of a study is made of: its results, those that it may have beside, and the page's source."""

from __future__ import annotations

import hashlib
from pathlib import Path

PAGE = "explore.html"
RESULTS = ("free_energy.nc", "metric.nc", "phases.nc", "phases.json", "posterior.zarr")
# Of other targets: shown where they are there, and never asked for.
BESIDE = ("geodesics.nc", "history.nc", "safety.nc", "zoom/windows.nc")
SOURCE = Path(__file__).parent.parent / "explorer" / "page"


def digests(folder: str | Path, names: tuple[str, ...]) -> dict[str, str]:
    """What vouches for results, by their names; of those alone that are there and vouched for."""
    # Imported here: a run that makes no page need not wait for it.
    from hessgeo.store import voucher_file

    files = {name: Path(voucher_file(Path(folder, name))) for name in names if Path(folder, name).exists()}
    return {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.is_file()}


def source_digest() -> str:
    """Digest of the page's markup, style and modules, which no import finds."""
    digest = hashlib.sha256()
    for file in sorted(SOURCE.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]
