"""What code a step runs: a digest of its script and of every module of the package that this imports, found statically.

Snakemake compares params with those of an earlier run, so that a step with this digest among its own is done again
when any of that code changes. Comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from hessgeo.pipeline.content import content, remembered
from hessgeo.pipeline.digest import digest

PACKAGE = "hessgeo"
# What names a module in text, with a place in it or not; and what names a package whose modules are named elsewhere.
MODULE = re.compile(rf"{PACKAGE}(\.\w+)+(:\w+)?")
PREFIX = re.compile(rf"{PACKAGE}\.(\w+\.)*")


class _Module(NamedTuple):
    code: str
    needs: set[Path]
    packages: set[str]


class Code:
    """The code of a checkout, as its files are when they are first asked for.

    Args:
        root: folder that holds ``workflow/scripts``, and the package unless this was installed without the checkout.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.packages = self.root if (self.root / PACKAGE).is_dir() else Path(__file__).parents[2]
        self._known: dict[Path, _Module] = {}
        self._places: dict[str, Path | None] = {}
        self._digests: dict[tuple, str] = {}

    def of(self, script: str, chosen: Mapping[str, Sequence[str]] | None = None) -> str:
        """Digest of the code that a script runs.

        Args:
            script: its name in ``workflow/scripts``.
            chosen: modules by the package of which it imports some whose names it makes (``f"package.{name}"``):
                those it imports. Of a package that is not in here all count.

        Raises:
            OSError: if there is no such script.
            ModuleNotFoundError: if it imports a module of the package that is not there.
        """
        key = (script, *((package, *names) for package, names in (chosen or {}).items()))
        if key not in self._digests:
            found = sorted(self.files(script, chosen))
            self._digests[key] = digest([self._read(file).code for file in found])
        return self._digests[key]

    def files(self, script: str, chosen: Mapping[str, Sequence[str]] | None = None) -> set[Path]:
        """The files of that code; see ``of``."""
        found: set[Path] = set()
        waiting = {self.root / "workflow" / "scripts" / script}
        while waiting:
            found |= waiting
            modules = [self._read(file) for file in waiting]
            needed = {place for module in modules for place in module.needs}
            for package in {package for module in modules for package in module.packages}:
                among = (chosen or {}).get(package) or [
                    file.stem for file in self._place(package).glob("*.py")
                ]
                needed.update(place for name in among for place in self._find(f"{package}.{name}"))
            waiting = needed - found
        return found

    def _read(self, file: Path) -> _Module:
        if file not in self._known:
            known = remembered(file, f"code {self._reader}", lambda: self._parse(file))
            places = {place for name in known["imports"] for place in self._find(name)}
            self._known[file] = _Module(known["code"], places, set(known["packages"]))
        return self._known[file]

    @cached_property
    def _reader(self) -> str:
        """A digest of this module: what it found another version of it may find otherwise."""
        return content(__file__)

    def _parse(self, file: Path) -> dict[str, Any]:
        tree = ast.parse(file.read_bytes())
        around = self.packages if file.is_relative_to(self.packages / PACKAGE) else self.root
        inside = file.relative_to(around).with_suffix("").parts
        package = inside if file.name == "__init__.py" else inside[:-1]
        package = package[:-1] if package[-1:] == ("__init__",) else package
        names = {name for node in _run(tree) for name in _imports(node, package)}
        ours = {name for name in names if name.partition(".")[0] == PACKAGE}
        made = {name for name in ours if name.endswith(".*")}
        return {
            "code": digest(_plain(tree), characters=64),
            "imports": sorted(ours - made),
            "packages": sorted(name.removesuffix(".*") for name in made),
        }

    def _find(self, name: str) -> Iterator[Path]:
        """The files that are run when a module is imported: its own, and those of the packages around it."""
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            prefix = ".".join(parts[:length])
            if file := self._file(prefix):
                yield file
                if file.name != "__init__.py":
                    return  # what follows is a name in the module
            elif length < len(parts):
                raise ModuleNotFoundError(f"{name} is imported, and there is no {prefix}")

    def _file(self, name: str) -> Path | None:
        """The file of a package or module, None if it is a name in one."""
        if name not in self._places:
            place = self._place(name)
            files = (place / "__init__.py", place.with_suffix(".py"))
            self._places[name] = next((file for file in files if file.is_file()), None)
        return self._places[name]

    def _place(self, name: str) -> Path:
        return self.packages.joinpath(*name.split("."))


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that a type checker alone reads, and docstrings."""
    for child in ast.iter_child_nodes(tree):
        if _is_text(child):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from (other, *_run(other))
            continue
        yield child
        yield from _run(child)


def _imports(node: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """Names that a node may import; ``package.*`` where the name of a module is made."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else ()
        module = ".".join([*above, *([node.module] if node.module else [])])
        # A name may be a module or stand in one.
        yield from (f"{module}.{alias.name}" if alias.name != "*" else module for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        if MODULE.fullmatch(node.value):
            yield node.value.partition(":")[0]
        elif PREFIX.fullmatch(node.value):
            yield f"{node.value}*"


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a text that nobody reads: a docstring, of a variable too."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _plain(node: Any) -> Any:
    """A tree as lists, without places and texts that nobody reads, and without fields that only some Pythons have."""
    if isinstance(node, list):
        return [_plain(entry) for entry in node if not _is_text(entry)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    return [type(node).__name__, {name: _plain(value) for name, value in fields.items()}]
