"""Every path of a run, and the settings that rules give to their scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from inspect import Parameter, Signature
from operator import attrgetter, getitem
from pathlib import Path
from typing import Any

from hessgeo.figures import registry
from hessgeo.pipeline.blocks import Block, blocks_of
from hessgeo.pipeline.code import Code
from hessgeo.pipeline.config_files import SettingsError, one_line_each
from hessgeo.pipeline.folders import FIGURE_KINDS, StudyFolder
from hessgeo.pipeline.generative import GenerativeLayout
from hessgeo.pipeline.latents import changed_settings, latents_errors, scans_noise
from hessgeo.pipeline.paper import PaperLayout
from hessgeo.pipeline.settings import Settings
from hessgeo.pipeline.solvable_layout import SolvableLayout
from hessgeo.pipeline.study_layout import StudyLayout
from hessgeo.pipeline.study_models import DIFFUSION_FILES
from hessgeo.pipeline.zoom_layout import Series

# Tables of the target table2, with what the report calls them.
PATH_TABLES = {
    "table2": "Table 2",
    "table2_against_fisher": "Table 2, less the Fisher geodesic",
    "table2_turning": "turning in phases and at boundaries",
}


def _of_wildcards(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same, with its signature beside it: Snakemake asks for it several times a job, and finding it out is slow."""
    function.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter("wildcards", Parameter.POSITIONAL_OR_KEYWORD)]
    )
    return function


@dataclass(frozen=True)
class Layout:
    """The paths of a run.

    Args:
        settings: the checked configuration.
        root: folder of the Snakefile.
    """

    settings: Settings
    root: Path

    def path(self, *parts: str) -> str:
        """Path in the folder of all results."""
        return "/".join((self.settings.results, *parts))

    def comparison(self, name: str) -> str:
        """Path of a figure that sets studies side by side."""
        return self.path("comparisons", name)

    # Functions of a rule's wildcards.

    def of_study(self, name: str, *arguments: str, study: str | None = None) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: what is called ``name`` in the layout of its study, or of ``study``.

        Args:
            name: of an attribute or method, also of one of its attributes (``system_model.awaited``).
            arguments: of the method.
            study: the study, in a rule without that wildcard.
        """
        read = attrgetter(name)

        def found(wildcards: Any) -> Any:
            value = read(self.of(study or wildcards.study))
            return value(*arguments) if callable(value) else value

        return _of_wildcards(found)

    def setting(self, *keys: str) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: the settings of its study, or an entry of them."""
        return self.of_study("setting", *keys)

    def model_setting(self, *keys: str) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: the settings of its embedded model, or an entry of them."""
        return lambda wildcards: reduce(getitem, keys, self.settings.models[wildcards.model])

    def of_comparison(self, name: str) -> Callable[[Any], list[Any]]:
        """A function of a rule's wildcards: a path or property of each study that a comparison sets side by side."""
        return lambda wildcards: [study.named(name) for study in self.compared(wildcards)]

    def compared(self, wildcards: Any) -> list[StudyLayout]:
        """The studies of a comparison, of a rule's wildcards; the first is what the others are held against."""
        return [self.of(study) for study in self.settings.comparisons[wildcards.comparison]]

    def cells_compared(self, wildcards: Any) -> list[str]:
        """All that a job waits for that reads the parameters and embeddings of a comparison's studies."""
        found = (path for study in self.compared(wildcards) for path in study.complete("t"))
        embedded = (path for study in self.compared(wildcards) for path in study.complete("embedding"))
        return list(dict.fromkeys([*found, *embedded]))

    def noise_compared(self, wildcards: Any) -> list[dict[str, Any]]:
        """The sampler of each study of a comparison: its name, steps and noise."""
        told = ("steps", "eta", "eta_rule")
        return [
            {"name": study.name, **{key: study.setting("system", key) for key in told}}
            for study in self.compared(wildcards)
        ]

    def settings_changed(self, wildcards: Any) -> list[dict[str, Any]]:
        """The settings of each study of a comparison that differ from those of the first."""
        first, *others = (study.setting() for study in self.compared(wildcards))
        return [changed_settings(first, other) for other in (first, *others)]

    @cached_property
    def codes(self) -> Code:
        """The code of the steps."""
        return Code(self.root)

    def code(
        self, script: str, chosen: Callable[[Any], Mapping[str, list[str]]] | None = None
    ) -> Callable[[Any], str]:
        """A function of a rule's wildcards: a digest of the code that its script runs.

        Args:
            script: its file in ``workflow/scripts``.
            chosen: a function of wildcards, see ``Code.of``.
        """
        return _of_wildcards(
            lambda wildcards: self.codes.of(Path(script).name, chosen(wildcards) if chosen else None)
        )

    # Parts of a run.

    @cached_property
    def any_study(self) -> StudyFolder:
        """The paths of whatever study a rule works for, with wildcards."""
        return StudyFolder(self.settings.results)

    @cached_property
    def _of(self) -> dict[str, StudyLayout]:
        return {name: StudyLayout(self.settings, name) for name in self.settings.studies}

    def of(self, study: str) -> StudyLayout:
        """The paths of one study."""
        return self._of[study]

    @property
    def studies(self) -> list[StudyLayout]:
        """The paths of every study to build."""
        return [self.of(name) for name in self.settings.run]

    @property
    def path_studies(self) -> list[StudyLayout]:
        """The studies to build whose paths can be solved: those with a sample on every node."""
        return [study for study in self.studies if study.has_paths]

    @property
    def history_studies(self) -> list[StudyLayout]:
        """The studies to build that have a history."""
        return [study for study in self.studies if not study.history_need]

    @property
    def history_comparisons(self) -> list[str]:
        """The comparisons of studies of the same latents all of which have a history."""
        known = {name: list(map(self.of, studies)) for name, studies in self.settings.comparisons.items()}
        return [
            name
            for name, studies in known.items()
            if not any(study.history_need for study in studies) and not any(latents_errors(name, studies))
        ]

    @property
    def history_words(self) -> str:
        """What the target ``history`` says: of which studies it is, and what the others lack."""
        return _complete("history", {study.name: study.history_need for study in self.studies})

    @property
    def zoom_words(self) -> str:
        """What the target ``zoom`` says, in the same way."""
        return _complete("zoom", {study.name: study.zoom.need for study in self.studies})

    @property
    def refine_words(self) -> str:
        """What the target ``refine`` says, in the same way."""
        return _complete("refinement", {study.name: study.refine.need for study in self.studies})

    @cached_property
    def _owners(self) -> list[StudyLayout]:
        """The studies whose samples are used."""
        return [self.of(name) for name in dict.fromkeys(study.owner for study in self._of.values())]

    @cached_property
    def blocks(self) -> dict[str, list[Block]]:
        """The shards that jobs make, by the rule that makes them: of drawn samples, of imported ones, of embeddings."""
        drawn = [study for study in self._owners if not study.is_own]
        imported = [study for study in self._owners if study.is_own]
        made = {"generate_samples": drawn, "import_samples": imported, "embed_samples": self._owners}
        return {rule: blocks_of(self, studies) for rule, studies in made.items()}

    @property
    def drawn(self) -> str:
        """Pattern of the names of studies whose samples a system draws."""
        return "|".join(study.name for study in self._owners if not study.is_own) or "none"

    @property
    def imported(self) -> str:
        """Pattern of the names of studies whose samples are there already."""
        return "|".join(study.name for study in self._owners if study.is_own) or "none"

    @property
    def parted(self) -> str:
        """Pattern of the names of studies whose posterior several jobs share."""
        return "|".join(study.name for study in self._of.values() if study.is_parted) or "none"

    @property
    def whole(self) -> str:
        """Pattern of the names of studies whose posterior one job makes."""
        return "|".join(study.name for study in self._of.values() if not study.is_parted) or "none"

    @cached_property
    def solvable(self) -> SolvableLayout:
        """The paths of the systems with exact answers and their tables."""
        return SolvableLayout(self.settings.results, "solvable", self.settings.solvable)

    @cached_property
    def generative(self) -> GenerativeLayout:
        """The paths of the geodesics of densities."""
        return GenerativeLayout(self.settings.results, "generative", self.settings.generative)

    @cached_property
    def paper(self) -> PaperLayout:
        """The paths of the papers' figures and tables."""
        return PaperLayout(self)

    # Targets.

    @property
    def path_targets(self) -> list[str]:
        """Everything that the target ``table2`` makes."""
        names = [f"{name}.{kind}" for name in PATH_TABLES for kind in ("csv", "tex", "html")]
        tables = [self.path("tables", name) for name in (*names, "table2.json")] if self.path_studies else []
        return [*tables, *(path for study in self.path_studies for path in study.path_targets)]

    @property
    def history_targets(self) -> list[str]:
        """Everything that the target ``history`` makes."""
        made = [path for study in self.history_studies for path in study.history_targets]
        drawn = [f"{name}/histories.{kind}" for name in self.history_comparisons for kind in FIGURE_KINDS]
        return [*made, *map(self.comparison, drawn)]

    @property
    def stability_targets(self) -> list[str]:
        """Everything that the target ``stability`` makes."""
        return [path for study in self.studies if study.is_tested for path in study.stability_targets]

    @property
    def safety_targets(self) -> list[str]:
        """Everything that the target ``safety`` makes."""
        return [path for study in self.studies if study.is_tested for path in study.safety_targets]

    @property
    def morph_targets(self) -> list[str]:
        """Everything that the target ``morph`` makes."""
        return [path for study in self.studies if study.is_tested for path in study.morph_targets]

    @property
    def zoom_targets(self) -> list[str]:
        """Everything that the target ``zoom`` makes."""
        return [path for study in self.studies for path in study.zoom.targets]

    @property
    def refine_targets(self) -> list[str]:
        """Everything that the target ``refine`` makes."""
        return [path for study in self.studies for path in study.refine.targets]

    def rounds_before(self, wildcards: Any) -> list[str]:
        """What a round of a study's refinement follows."""
        found: list[str] = self.of(wildcards.study).refine.before(int(wildcards.round))
        return found

    @property
    def explorer_targets(self) -> list[str]:
        """Everything that the target ``explore`` makes."""
        return [path for study in self.studies for path in study.explorer_targets]

    def of_series(self, name: str) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: what is called ``name`` in their series of windows, or in its zoom."""

        def found(wildcards: Any) -> Any:
            series = Series.named(wildcards.series)
            if name == "width":
                zoom = self.of(wildcards.study).zoom
                return zoom.settings["factor"] ** int(wildcards.level)
            return getattr(series, name)

        return found

    @property
    def generative_targets(self) -> list[str]:
        """Everything that the target ``generative_geodesics`` makes, the model included."""
        model = [self.generative.model(file) for file in DIFFUSION_FILES.values()]
        return [*model, *self.generative.targets]

    @property
    def difference_targets(self) -> list[str]:
        """Everything that the target ``compare`` makes."""
        drawn = dict.fromkeys(
            self.of(studies[0]).path("reseeded.nc") for studies in self.settings.comparisons.values()
        )
        made = (
            self.path("comparisons", name, file)
            for name in self.settings.comparisons
            for file in self._difference_files(name)
        )
        return [*drawn, *made]

    def _difference_files(self, comparison: str) -> list[str]:
        """What is made of one comparison: of a scan over noise curves, in the place of a row of maps a study."""
        scan = self.scans_noise(comparison)
        made = ["differences.nc", "differences.csv", "differences.json"]
        made += ["noise.nc", "noise.csv", "noise.json"] if scan else []
        figure = registry.NOISE if scan else registry.DIFFERENCES
        return [*made, *(f"{figure.name}.{kind}" for kind in FIGURE_KINDS)]

    def scans_noise(self, comparison: str) -> bool:
        """Whether the studies of a comparison differ in their sampler's noise alone."""
        return scans_noise([self.of(name).setting() for name in self.settings.comparisons[comparison]])

    def compared_targets(self, _: Any) -> list[str]:
        """The same, once it is known that it can be made; otherwise the program ends with a line for each reason.

        Side by side any studies can be drawn, but only those of the same latents be compared cell by cell.
        """
        comparisons = {
            name: list(map(self.of, studies)) for name, studies in self.settings.comparisons.items()
        }
        if errors := [line for one in comparisons.items() for line in latents_errors(*one)]:
            with one_line_each():
                raise SettingsError(errors)
        return self.difference_targets

    @property
    def targets(self) -> list[str]:
        """Everything that a run makes, intermediate results included: one that was lost is made again."""
        names = [f"{name}.{kind}" for name in self.settings.comparisons for kind in FIGURE_KINDS]
        compared = [self.comparison(name) for name in names]
        return [*(path for study in self.studies for path in study.targets), *compared]


def _complete(what: str, needs: Mapping[str, str]) -> str:
    """That something is complete of the studies that need nothing for it, and what the others need."""
    names = ", ".join(name for name, need in needs.items() if not need) or "no study"
    lacking = [f"{name} has none: it needs {need}" for name, need in needs.items() if need]
    return "; ".join([f"The {what} of {names} is complete", *lacking])
