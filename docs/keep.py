"""Run examples and keep their results for the pages: ``python docs/keep.py digits two_models [-- ARGUMENTS]``.

Writes ``docs/figures/gallery/NAME-1.png``, .., ``NAME.txt`` with what the script says, and ``NAME.json`` with digests
of the code that made them and of themselves, by which a test knows that they belong together.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import runpy
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
KEPT = REPOSITORY / "docs" / "figures" / "gallery"
DPI = 150


def code_digest(name: str) -> str:
    """Digest of what a script does: comments, layout and its docstring may change."""
    tree = ast.parse((REPOSITORY / "examples" / f"{name}.py").read_bytes())
    return hashlib.sha256(ast.dump(ast.Module(tree.body[1:], [])).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def keep(name: str, arguments: list[str]) -> None:
    """Run one example and write what it drew and said."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    said, start = io.StringIO(), time.process_time()
    sys.argv = [f"examples/{name}.py", *arguments]
    with redirect_stdout(said):
        names = runpy.run_path(str(REPOSITORY / sys.argv[0]), run_name="__main__")
    seconds = time.process_time() - start
    KEPT.mkdir(parents=True, exist_ok=True)
    for old in KEPT.glob(f"{name}[-.]*"):
        old.unlink()
    figures = list({id(value): value for value in names.values() if isinstance(value, Figure)}.values())
    paths = [KEPT / f"{name}-{k}.png" for k in range(1, len(figures) + 1)]
    for figure, path in zip(figures, paths, strict=True):
        figure.savefig(path, dpi=DPI, bbox_inches="tight")
    text = KEPT / f"{name}.txt"
    text.write_text(said.getvalue(), encoding="utf-8")
    files = {path.name: file_digest(path) for path in (*paths, text)}
    about = {"code": code_digest(name), "files": files, "processor_seconds": round(seconds, 1)}
    (KEPT / f"{name}.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    for example in given[:end]:
        keep(example, given[end + 1 :])
        sys.stdout.write(f"kept {example}\n")
