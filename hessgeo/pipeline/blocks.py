"""Shards that one job makes: their paths, for the rules of samples and of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hessgeo.pipeline.folders import StudyFolder

if TYPE_CHECKING:
    from hessgeo.pipeline.layout import Layout
    from hessgeo.pipeline.study_layout import StudyLayout


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
    def folder(self) -> StudyFolder:
        """The folder of the study."""
        return self.layout.any_study if self.study is None else self.study.folder

    def files(self, array: str) -> list[str]:
        """The files of the images or, by the word ``embedding``, of their embedding."""
        return [self.folder.samples.shard(self.folder.array(array), k) for k in self.shards]

    def sidecars(self, array: str) -> list[str]:
        """The sidecars of those files."""
        return [self.folder.samples.sidecar(self.folder.array(array), k) for k in self.shards]

    def of(self, name: str, *arguments: str) -> Callable[[Any], Any]:
        """See ``Layout.of_study``; of the block's study, if it has one."""
        return self.layout.of_study(name, *arguments, study=None if self.study is None else self.study.name)


def blocks_of(layout: Layout, owners: Iterable[StudyLayout]) -> list[Block]:
    """The blocks of some studies with samples of their own: one by a wildcard, then those of several shards."""
    single, several = [], []
    for study in owners:
        step, count = study.shards_per_job, study.shard_count("image")
        if step == 1:
            single.append(study.name)
        else:
            starts = range(0, count, step)
            several += [Block(layout, range(k, min(k + step, count)), study) for k in starts]
    return [Block(layout, ("{shard}",), None, "|".join(single) or "none"), *several]
