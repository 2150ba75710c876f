"""The estimators and the networks they read, by the names that settings use; nothing of them is imported here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """Where an estimator is defined, and the network that it reads.

    Attributes:
        module: in ``hessgeo.estimators``.
        name: of the class.
        title: what tables call it.
        network: a key of ``NETWORKS``, or None.
        natural: whether it works in the natural parameters; else in those of the study, as the paper does.
        exact: whether it needs the system's own statistics, which no data analysis of a new system has.
    """

    module: str
    name: str
    title: str
    network: str | None = None
    natural: bool = False
    exact: bool = False


ESTIMATORS: dict[str, Entry] = {
    "statistics": Entry("reweighted", "KnownStatistics", "known statistics", natural=True, exact=True),
    "exponential": Entry(
        "reweighted", "LearnedStatistics", "learned statistics", "exponential", natural=True
    ),
    "exponential-gaussian": Entry(
        "exponential", "ExponentialLikelihood", "learned statistics, Gaussian", "exponential", natural=True
    ),
    "exponential-posterior": Entry(
        "exponential", "ExponentialPosterior", "learned statistics, posterior", "exponential", natural=True
    ),
    "exponential-wide": Entry(
        "exponential", "ExponentialWide", "learned statistics, d > 2", "exponential-wide"
    ),
    "u2net": Entry("paper", "U2NetSpline", "U²-Net, splines", "u2net"),
    "u2net-mlp": Entry("paper", "PaperPerceptron", "U²-Net, MLP + JSD (the paper's)", "u2net"),
    "mean-as-statistic": Entry("baselines", "MeanAsStatistic", "mean as statistic", "mean-regression"),
    "pca-vae": Entry("baselines", "PcaVae", "PCA-VAE", "vae"),
    "score-classifier": Entry("baselines", "ScoreByClassification", "score by classification", "score"),
}
NETWORKS: dict[str, tuple[str, str]] = {
    "exponential": ("exponential", "ExponentialTrainer"),
    "exponential-wide": ("exponential", "WideTrainer"),
    "u2net": ("paper", "U2NetTrainer"),
    "mean-regression": ("baselines", "MeanRegressionTrainer"),
    "vae": ("baselines", "VaeTrainer"),
    "score": ("baselines", "ScoreTrainer"),
}
