"""Judge the samples of a study with the digit classifier."""

import numpy as np

from hessgeo import store
from hessgeo.models.digit_classifier import load_classifier, recognise
from hessgeo.pipeline import script_context


def main(path, classifier, numbers):
    classifier = load_classifier(classifier)
    shards = store.open_array(path, "image").blocks.ravel()
    judged = [recognise(classifier, shard.compute()) for shard in shards]
    label, confidence = map(np.concatenate, zip(*judged, strict=True))
    result = {
        "samples": len(label),
        "mean_confidence": confidence.mean(),
        "share_above_0.9": np.mean(confidence > 0.9),
        "per_digit": np.bincount(label, minlength=10),
    }
    store.write_json(numbers, result)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.params.store, step.params.classifier, step.output.numbers)
