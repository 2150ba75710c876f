"""The baselines under the interface of all estimators, each with the settings it takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hessgeo.estimators.base import Estimate, Estimator, Trainer, in_study
from hessgeo.estimators.integration import ResponseMap, conditional_mean, integrate_statistics, response_map
from hessgeo.estimators.mean_as_statistic import MeanRegression, train_mean_regression
from hessgeo.estimators.pca_vae import LatentStatistics, principal_statistics, train_vae
from hessgeo.estimators.score_classifier import ScoreClassifier, score_metric, train_score_classifier
from hessgeo.learned.samples import Samples


class MeanRegressionTrainer(Trainer):
    """``E[t|x]`` by regression, see ``train_mean_regression``."""

    def train(
        self, samples: Samples, settings: Mapping[str, Any], *, seed: int, device: str, progress: bool
    ) -> MeanRegression:
        """See ``Trainer``."""
        return train_mean_regression(
            samples.states, samples.t, samples.grid.extent, samples.geometry,
            **settings,
            seed=seed, device=device, progress=progress,
        )  # fmt: skip

    def load(self, folder: str | Path, *, device: str) -> MeanRegression:
        """See ``Trainer``."""
        return MeanRegression.load(folder, device=device)


class VaeTrainer(Trainer):
    """A variational autoencoder of states, see ``train_vae``."""

    def train(
        self, samples: Samples, settings: Mapping[str, Any], *, seed: int, device: str, progress: bool
    ) -> LatentStatistics:
        """See ``Trainer``."""
        return train_vae(
            samples.states, samples.geometry,
            **settings,
            seed=seed, device=device, progress=progress,
        )  # fmt: skip

    def load(self, folder: str | Path, *, device: str) -> LatentStatistics:
        """See ``Trainer``."""
        return LatentStatistics.load(folder, device=device)


class ScoreTrainer(Trainer):
    """The score by classification, see ``train_score_classifier``."""

    def train(
        self, samples: Samples, settings: Mapping[str, Any], *, seed: int, device: str, progress: bool
    ) -> ScoreClassifier:
        """See ``Trainer``."""
        return train_score_classifier(
            samples.states, samples.t, samples.grid.extent, samples.geometry,
            **settings,
            seed=seed, device=device, progress=progress,
        )  # fmt: skip

    def load(self, folder: str | Path, *, device: str) -> ScoreClassifier:
        """See ``Trainer``."""
        return ScoreClassifier.load(folder, device=device)


class MeanAsStatistic(Estimator):
    """The predicted parameters as statistics, integrated to a potential of the study's parameters.

    With the map ``none``, the paper's way: ``grad F`` is fitted to ``E[t|x]`` as it is, in units of ``t``, so that
    ``F`` has a scale of its own and its Hessian is no metric in nats. With ``response`` the two statistics are first
    mapped to those conjugate to ``t`` by ``response_map``, which gives them scale and mixture from the data alone.
    """

    def estimate(
        self,
        samples: Samples,
        trained: MeanRegression,
        settings: Mapping[str, Any],
        *,
        seed: int,
        device: str = "cpu",
        progress: bool = False,
    ) -> Estimate:
        """See ``Estimator``."""
        skill = {"skill": trained.config["skill"]}
        return _integrated(samples, trained(samples.states), settings, skill)


class PcaVae(Estimator):
    """Principal components of latent means and standard deviations as statistics, integrated to a potential.

    A principal component has no scale, no sign, and nothing that tells which parameter it belongs to. The rule: the
    pair is mapped by ``B = J' C^-1`` of ``response_map``, the best linear prediction of the score from it, which needs
    no truth. That is the map after which the statistics' mean is nearest, in the least-squares sense, to the gradient
    of a potential whose Hessian is their covariance; where the components are an affine map of the sufficient
    statistics it is the inverse of that map. The potential is then that whose gradient is nearest to ``E[B s|t]``.

    PAPER: does not say which affine map it takes to its parameters; the error over all of them is no larger than ours.
    """

    def estimate(
        self,
        samples: Samples,
        trained: LatentStatistics,
        settings: Mapping[str, Any],
        *,
        seed: int,
        device: str = "cpu",
        progress: bool = False,
    ) -> Estimate:
        """See ``Estimator``."""
        principal = principal_statistics(*trained(samples.states), components=settings["components"])
        numbers = {"explained": list(principal.explained), "bound": trained.config["bound"]}
        return _integrated(samples, principal.values, settings, numbers)


class ScoreByClassification(Estimator):
    """The Fisher metric as the covariance of a learned score; it says nothing of a potential.

    The error of a learned score adds to its covariance. With the debias ``none``, as published, it stays. ``slope``
    multiplies by the held-out calibration slope, which takes off what the error adds where it is independent of the
    score. A network of two ``halves`` has no such excess, since errors of one do not meet themselves.
    """

    def estimate(
        self,
        samples: Samples,
        trained: ScoreClassifier,
        settings: Mapping[str, Any],
        *,
        seed: int,
        device: str = "cpu",
        progress: bool = False,
    ) -> Estimate:
        """See ``Estimator``."""
        metric = score_metric(
            trained(samples.states, samples.t), samples.t, samples.grid.extent, samples.grid.points,
            splines=_pair(settings["splines"]), smoothness=settings["smoothness"],
        )  # fmt: skip
        calibration = trained.config["calibration"]
        metric *= _slope(settings["debias"], calibration)
        return Estimate(metric=metric, numbers={"calibration": calibration})


def _integrated(
    samples: Samples, statistics: np.ndarray, settings: Mapping[str, Any], numbers: Mapping[str, Any]
) -> Estimate:
    """The potential nearest to two statistics, in the parameters of the study."""
    smooth = {"splines": _pair(settings["splines"]), "smoothness": settings["smoothness"]}
    t, extent = samples.t, samples.grid.extent
    mean = conditional_mean(statistics, t, extent, **smooth)
    mapping = _mapping(settings["map"], statistics, samples, mean)
    if mapping is not None:
        statistics = statistics @ mapping.matrix.T
        mean = conditional_mean(statistics, t, extent, **smooth)
    found = integrate_statistics(statistics, t, extent, mean=mean, **smooth)
    about = {
        **_map_numbers(mapping),
        "curl_share": found.curl_share,
        "noise": list(found.noise),
        "smoothness": found.free_energy.certificate["smoothness"],
    }
    return in_study(found.free_energy, samples, {**numbers, **about})


def _mapping(kind: str, statistics: np.ndarray, samples: Samples, mean: Any) -> ResponseMap | None:
    if kind not in ("none", "response"):
        raise ValueError(f"map is {kind!r}, must be none or response")
    return response_map(statistics, samples.t, mean) if kind == "response" else None


def _map_numbers(mapping: ResponseMap | None) -> dict[str, Any]:
    return {} if mapping is None else {"map": mapping.matrix.tolist()}


def _slope(debias: str, calibration: list[dict[str, float]]) -> float:
    """What a covariance of scores is multiplied by."""
    if debias not in ("none", "slope"):
        raise ValueError(f"debias is {debias!r}, must be none or slope")
    if debias == "slope" and len(calibration) > 1:
        raise ValueError("debias is 'slope', must be none where the score is of two halves")
    return calibration[0]["slope"] if debias == "slope" else 1.0


def _pair(splines: Any) -> tuple[int, int]:
    a, b = splines
    return int(a), int(b)
