"""The figures and tables of both papers by number: what of a run makes each, and what the papers say of it.

Lobashev et al., *Hessian Geometry of Latent Space in Generative Models* (ICML 2025), and Kim et al., *(Deep) Generative
Geodesics* (2024). Captions are ours. An entry whose results a configuration cannot have is a row that says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hessgeo.figures import registry
from hessgeo.pipeline.paper_entries import ENTRIES, Entry

if TYPE_CHECKING:
    from hessgeo.pipeline.layout import Layout
    from hessgeo.pipeline.study_layout import StudyLayout

# Who a source is of, in words for the row of one that is not there.
NEEDED = {
    "study": "a study of two parameters with a sampler",
    "noisy": "a study with system.eta above 0 (workflow/studies/paper.yaml has one)",
    "generator": "a study of a generator in a file (system.kind: generator), which needs a checkpoint",
}
STUDY_FIGURES = (*registry.STUDY, *registry.PATHS, *registry.PAPER, *registry.ZOOM)


@dataclass(frozen=True)
class Row:
    """An entry as a run makes it.

    Attributes:
        entry: the figure or table.
        sources: the files that it is made of.
        tables: the numbers beside them.
        numbers: other numbers that its verdict is made of.
        setting: what it was made with here.
        missing: why it cannot be made; None if it can.
    """

    entry: Entry
    sources: list[str]
    tables: list[str]
    numbers: list[str]
    setting: str
    missing: str | None


@dataclass(frozen=True)
class PaperLayout:
    """The paths of the papers' figures and tables in a run.

    Args:
        layout: of the run.
    """

    layout: Layout

    def path(self, name: str) -> str:
        """Path in the folder of the papers."""
        return self.layout.path("paper", name)

    @cached_property
    def studies(self) -> dict[str, StudyLayout]:
        """The study that stands for each kind of system that the paper has: the first of the run that can."""
        found: dict[str, StudyLayout] = {}
        for study in self.layout.studies:
            system = study.setting("system")
            if not study.is_plane or study.is_own:
                continue
            kind = "generator" if system["kind"] == "generator" else "noisy" if system["eta"] > 0 else "study"
            found.setdefault(kind, study)
        return found

    @cached_property
    def rows(self) -> list[Row]:
        """Every entry of both papers, in their order."""
        return [self._row(entry) for entry in ENTRIES]

    def row(self, name: str) -> Row:
        """The row of an entry, by its name."""
        return next(row for row in self.rows if row.entry.name == name)

    def sources(self, wildcards: Any) -> list[str]:
        """What an entry is made of, of a rule's wildcards."""
        return self.row(wildcards.entry).sources

    @property
    def files(self) -> list[str]:
        """The figures and tables that can be made."""
        return [self.path(f"{row.entry.name}.{row.entry.ending}") for row in self.rows if row.missing is None]

    @property
    def read(self) -> list[str]:
        """All numbers that verdicts are made of."""
        found = (path for row in self.rows if row.missing is None for path in (*row.tables, *row.numbers))
        return list(dict.fromkeys(found))

    @property
    def told(self) -> list[dict[str, Any]]:
        """What the page says of each entry, and what it is judged by."""
        words = ("name", "title", "paper", "shows", "theirs", "reports", "judge")
        of_row = ("tables", "numbers", "setting", "missing")
        return [
            {
                **{key: getattr(row.entry, key) for key in words},
                **{key: getattr(row, key) for key in of_row},
                "file": f"{row.entry.name}.{row.entry.ending}",
                "table": self._path(row.entry.sources[0], "html") if row.entry.ending == "tex" else "",
            }
            for row in self.rows
        ]

    @property
    def targets(self) -> list[str]:
        """Everything that the target ``paper`` makes."""
        return [*self.files, self.path("index.html"), self.path("numbers.json")]

    def _row(self, entry: Entry) -> Row:
        if entry.missing:
            return Row(entry, [], [], [], "", entry.missing)
        missing = next(
            (words for source in (*entry.sources, *entry.numbers) if (words := self._lacks(source))), None
        )
        if missing:
            return Row(entry, [], [], [], "", missing)
        sources = [self._path(source, entry.ending) for source in entry.sources]
        tables = [self._path(source, "csv") for source in entry.sources if entry.ending == "svg"]
        numbers = [self._path(source, "json") for source in entry.numbers]
        setting = entry.setting or "; ".join(dict.fromkeys(map(self._setting, entry.sources)))
        return Row(entry, sources, tables, numbers, setting, None)

    def _lacks(self, source: str) -> str | None:
        """What a run lacks that cannot make a source; None if it can."""
        room, _, name = source.partition(":")
        if room in NEEDED:
            if room not in self.studies:
                return f"not in this configuration: it needs {NEEDED[room]}"
            study = self.studies[room]
            if name in {figure.name for figure in registry.PATHS} and not study.has_paths:
                return (
                    "not in this configuration: its paths need a sample on every node (sampling.design: grid)"
                )
            if name in {figure.name for figure in registry.ZOOM} and not study.zoom.targets:
                return "not in this configuration: the study cannot be zoomed into"
        if name in {figure.name for figure in (*registry.SOLVABLE, *registry.PAPER_SOLVABLE)}:
            shown = self.layout.solvable.shown.get(name, [])
            return (
                None if shown else "not in this configuration: no solvable system of the kind that it shows"
            )
        if source == "tables:table2" and not self.layout.path_studies:
            return "not in this configuration: no study whose paths can be solved"
        return None

    def _path(self, source: str, ending: str) -> str:
        room, _, name = source.partition(":")
        if room in NEEDED:
            study = self.studies[room]
            drawn = name in {figure.name for figure in STUDY_FIGURES}
            return study.path("figures", f"{name}.{ending}") if drawn else study.path(f"{name}.{ending}")
        if room == "solvable":
            folder = ("figures",) if name in {figure.name for figure in registry.SOLVABLE} else ()
            return self.layout.solvable.path(*folder, f"{name}.{ending}")
        if room == "density":
            return self.layout.generative.path("figures", f"{name}.{ending}")
        return self.layout.path(room, f"{name}.{ending}")

    def _setting(self, source: str) -> str:
        """What a source is made with, in words."""
        room, _, name = source.partition(":")
        if room in NEEDED:
            return _words(self.studies[room])
        if room == "density":
            return f"section generative of the settings, seed {self.layout.settings.generative['seed']}"
        if source == "tables:table2":
            return "; ".join(map(_words, self.layout.path_studies))
        solvable = self.layout.solvable
        names = solvable.shown[name] if name in solvable.shown else solvable.solvable["table1"]["systems"]
        return "; ".join(f"{name}: {solvable.systems[name]['samples']:,} samples a seed" for name in names)


def _words(study: StudyLayout) -> str:
    """What a study is made with, in words."""
    system, grid = study.setting("system"), study.setting("sampling", "grid")
    steps = "" if system["kind"] == "generator" else f", {system['steps']} steps, eta {system['eta']:g}"
    nodes, shape = " x ".join(map(str, grid)), " x ".join(map(str, study.image_shape[:2]))
    return (
        f"study {study.name}: {system['checkpoint']}, {study.count:,} images of {shape} pixels over {nodes} nodes"
        f"{steps}, embedding {study.setting('embedding', 'kind')}"
    )
