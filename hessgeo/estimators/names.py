"""The estimators and the networks they read, by the names that settings use; nothing of them is imported here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """Where an estimator is defined, ``(samples, trained, settings, run) -> Estimate``, and the network that it reads.

    Attributes:
        module: in ``hessgeo.estimators``.
        name: of the function.
        title: what tables call it.
        network: a key of ``NETWORKS``, or None.
        natural: whether it works in the natural parameters; else in those of the study, as the paper does.
        exact: whether it needs the system's own statistics, which no data analysis of a new system has.
        binary: whether it reads states of two values alone.
    """

    module: str
    name: str
    title: str
    network: str | None = None
    natural: bool = False
    exact: bool = False
    binary: bool = False


@dataclass(frozen=True)
class Network:
    """Where a network that estimators read is defined.

    Attributes:
        module: in ``hessgeo.estimators``.
        train: the function ``(samples, *, seed, device, progress, **settings)`` that trains it.
        part: the class of what that gives, which saves and loads it.
    """

    module: str
    train: str
    part: str


ESTIMATORS: dict[str, Entry] = {
    "statistics": Entry("reweighted", "known_statistics", "known statistics", natural=True, exact=True),
    "exponential": Entry(
        "reweighted", "learned_statistics", "learned statistics", "exponential", natural=True
    ),
    "exponential-gaussian": Entry(
        "exponential", "gaussian_likelihood", "learned statistics, Gaussian", "exponential", natural=True
    ),
    "exponential-posterior": Entry(
        "exponential", "posterior_moments", "learned statistics, posterior", "exponential", natural=True
    ),
    "exponential-wide": Entry("exponential", "wide_scores", "learned statistics, d > 2", "exponential-wide"),
    "u2net": Entry("paper", "spline_potential", "U²-Net, splines", "u2net", binary=True),
    "u2net-mlp": Entry(
        "paper", "perceptron_potential", "U²-Net, MLP + JSD (the paper's)", "u2net", binary=True
    ),
    "mean-as-statistic": Entry(
        "mean_as_statistic", "mean_as_statistic", "mean as statistic", "mean-regression"
    ),
    "pca-vae": Entry("pca_vae", "principal_components", "PCA-VAE", "vae", binary=True),
    "score-classifier": Entry("score_classifier", "score_covariance", "score by classification", "score"),
}
NETWORKS: dict[str, Network] = {
    "exponential": Network("exponential", "train_halves", "ExponentialHalves"),
    "exponential-wide": Network("exponential", "train_halves", "ExponentialHalves"),
    "u2net": Network("paper", "train_u2net", "TrainedPosterior"),
    "mean-regression": Network("mean_as_statistic", "train_mean_regression", "MeanRegression"),
    "vae": Network("pca_vae", "train_vae", "LatentStatistics"),
    "score": Network("score_classifier", "train_score_classifier", "ScoreClassifier"),
}
