"""Shards that one job makes: their paths, for the rules of samples and of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hessgeo.pipeline.layout import Layout, StudyLayout


@dataclass(frozen=True)
class Block:
    """The shards that the jobs of one rule make.

    Outputs are no function of wildcards. So either a wildcard stands for one shard, of any study; or the rule is for
    some shards of one study, without wildcards: Snakemake finds a rule at once by a path that is whole.

    Args:
        layout: all paths.
        shards: their numbers, or the wildcard of one.
        study: the study; None for any.
        studies: pattern of the studies that the wildcard may stand for.
    """

    layout: Layout
    shards: Sequence[int | str]
    study: StudyLayout | None
    studies: str = ".*"

    @property
    def suffix(self) -> str:
        """What the name of the rule ends with."""
        if self.study is None:
            return ""
        return f"_{self.shards[0]}_to_{self.shards[-1]}_of_{self.study.name}"

    @property
    def words(self) -> str:
        """What a message calls them."""
        if self.study is None:
            return "shard {wildcards.shard} of the samples of {wildcards.study}"
        return f"shards {self.shards[0]} to {self.shards[-1]} of the samples of {self.study.name}"

    @property
    def images(self) -> list[str]:
        """The files of the images."""
        return [self.path(self.layout.sample_store("image", "c", str(k), "0", "0", "0")) for k in self.shards]

    @property
    def image_sidecars(self) -> list[str]:
        """The sidecars of the images."""
        return [self.path(self.layout.manifest("image", f"{k}.json")) for k in self.shards]

    @property
    def embeddings(self) -> list[str]:
        """The files of their embedding."""
        return [
            self.path(self.layout.sample_store("embedding", "{key}", "c", str(k), "0")) for k in self.shards
        ]

    @property
    def embedding_sidecars(self) -> list[str]:
        """The sidecars of their embedding."""
        return [self.path(self.layout.manifest("embedding", "{key}", f"{k}.json")) for k in self.shards]

    def path(self, template: str) -> str:
        """A path, with the study and its stores for their wildcards."""
        if self.study is None:
            return template
        key = self.study.embedder.name
        return template.format(study=self.study.name, layout=self.study.layout, key=key)

    @property
    def _study(self) -> str | None:
        return None if self.study is None else self.study.name

    def of(self, name: str, *arguments: str) -> Callable[[Any], Any]:
        """See ``Layout.of_study``; of the block's study, if it has one."""
        return self.layout.of_study(name, *arguments, study=self._study)

    def setting(self, *keys: str) -> Callable[[Any], Any]:
        """See ``Layout.setting``; of the block's study, if it has one."""
        return self.layout.setting(*keys, study=self._study)
