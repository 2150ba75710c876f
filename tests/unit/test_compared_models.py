"""LoRAs at weights, samplers and precisions compared on a small Stable Diffusion, from the shipped study to numbers."""

import numpy as np
import pytest

from hessgeo.evaluation.reseeding import reseeded
from hessgeo.grids import Grid
from hessgeo.metrics.measured import embedding_metric
from hessgeo.pipeline.differences import Compared, measure_differences
from hessgeo.pipeline.latents import changed_settings, latents_errors
from hessgeo.pipeline.stability_maps import measured_phases
from hessgeo.pipeline.vouched import loaded_system
from hessgeo.systems.slices import random_anchors

pytestmark = pytest.mark.slow

GRID = Grid(((0.0, 1.0), (0.0, 1.0)), (8, 8))
SETTINGS = {"share": 0.95, "blocks": 4, "resamples": 100, "confidence": 0.95}
SMALL = {
    "system": {"steps": 4, "dtype": "float32", "batch_size": 64},
    "sampling": {"grid": list(GRID.shape), "shard": 64},
    "embedding": {"kind": "pixels", "checkpoint": None, "model": None, "dtype": "float32"},
}


@pytest.fixture(scope="module")
def layout(small_checkpoint, layout_of, tmp_path_factory):
    """The paths of lora.yaml with a small checkpoint and a LoRA of its layers, in few steps."""
    import checkpoints

    folder = small_checkpoint("small_stable_diffusion")
    file = str(checkpoints.small_lora(folder, tmp_path_factory.mktemp("lora") / "style.safetensors"))
    weights = {"tiny": 1e-7, "lora-025": 0.25, "lora-05": 0.5, "lora-1": 1.0}
    studies = {
        name: {"system": {"lora": [{"file": file, "weight": weight}]}} for name, weight in weights.items()
    }
    studies["two-steps"] = {"system": {"steps": 2}}
    studies["bfloat16"] = {"system": {"dtype": "bfloat16"}}
    solvers = {"euler": "EulerDiscreteScheduler", "dpm": "DPMSolverMultistepScheduler"}
    for name, scheduler in solvers.items():
        studies[name] = {"system": {"scheduler": scheduler}}
    change = {
        "checkpoint": str(folder),
        "run": ["lora-0", *studies],
        "defaults": SMALL,
        "studies": studies,
        "comparisons": {"lora": ["lora-0", *weights], "scheduler": ["lora-0", *solvers]},
    }
    return layout_of("lora.yaml", **change)


@pytest.fixture(scope="module")
def embedded(layout):
    """Pixels of every node, as unit vectors, by study; with its system."""
    anchors, made = random_anchors(0, layout.of("lora-0").latent_shape), {}

    def get(name):
        if name not in made:
            study = layout.of(name)
            system = loaded_system(study.system, anchors, study.plane, most=64)
            made[name] = system, unit(system.sample(GRID.points, np.arange(GRID.size), 21))
        return made[name]

    return get


def unit(images):
    flat = images.reshape(len(images), -1) - 127.5
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def differences(layout, embedded, names):
    """What ``compare`` measures of studies, on phases of the metric that embeddings show."""
    first = layout.of(names[0])
    system, vectors = embedded(names[0])
    null = reseeded(system, unit, GRID.points, vectors, GRID, cells=32, seed=21)
    studies = []
    for name in names:
        _, own = embedded(name)
        label = measured_phases(own.reshape(*GRID.shape, -1), GRID, first.setting("phases"))
        metric = embedding_metric(own.reshape(*GRID.shape, -1), GRID)
        changed = changed_settings(first.setting(), layout.of(name).setting())
        studies.append(Compared(name, changed, label, metric, own, GRID.points))
    return measure_differences(studies, GRID, null, SETTINGS, seed=0)[2]


@pytest.mark.parametrize("comparison", ["lora", "scheduler"])
def test_its_studies_are_of_the_same_latents(layout, comparison):
    names = layout.settings.comparisons[comparison]
    assert list(latents_errors(comparison, list(map(layout.of, names)))) == []
    assert f"results/comparisons/{comparison}/model_differences.svg" in layout.difference_targets


def test_a_lora_of_next_to_no_weight_changes_nothing_and_more_weight_changes_more(layout, embedded):
    numbers = differences(layout, embedded, layout.settings.comparisons["lora"])
    assert numbers["null"]["by"] == "half a grid step"
    none, *others = numbers["models"]
    assert (none["keeps_image"]["value"], none["image_distance"], none["adjusted_rand"]["value"]) == (1, 0, 1)
    distances = [row["image_distance"] for row in others]
    assert 0 < distances[0] < distances[1] < distances[2]
    assert [row["changed"]["system.lora"][0]["weight"] for row in others] == [0.25, 0.5, 1]
    assert numbers["finding"].startswith("tiny")


def test_samplers_of_one_equation_differ_less_than_few_steps_do(layout, embedded):
    numbers = differences(layout, embedded, ["lora-0", "euler", "dpm", "bfloat16", "two-steps"])
    distance = {row["study"]: row["image_distance"] for row in numbers["models"]}
    assert 0 < distance["bfloat16"] < distance["dpm"]
    assert 0 < distance["euler"] < distance["two-steps"]
    assert numbers["models"][1]["changed"] == {"system.scheduler": "DPMSolverMultistepScheduler"}
