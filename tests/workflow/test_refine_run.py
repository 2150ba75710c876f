"""The target refine, from a finished study: the same images whichever jobs make them, only what is missing again."""

import pytest
from running import Workflow

from hessgeo import store

pytestmark = pytest.mark.slow


def test_rounds_are_added_to_a_finished_study_and_do_not_depend_on_the_jobs(copied, repository):
    refine = {"levels": 1, "rounds": 2, "jobs": 2}
    workflow = copied(studies={"tiny": {"refine": refine}})
    made = [path for path in workflow.study.targets if workflow(path).is_file()]
    before = workflow.times(made)
    workflow.run("refine")
    assert [path for path in workflow.layout.refine_targets if not workflow(path).exists()] == []
    assert workflow.times(made) == before
    folder = workflow("results/tiny/refined")
    numbers = store.read_json(folder / "refined.json")
    assert numbers["new_images"] > 0
    rounds = sorted(folder.glob("round-*/*.nc"))
    found = [store.read_dataset(path) for path in rounds]
    assert sum(part.sizes["sample"] for part in found) == numbers["new_images"]
    lost, content = rounds[0], rounds[0].read_bytes()
    assert found[0].sizes["sample"] > 0
    whole = (folder / "refined.csv").read_bytes()
    lost.unlink()
    workflow.run("refine")
    assert lost.read_bytes() == content
    assert (folder / "refined.csv").read_bytes() == whole
    # One job in place of two: other files, the same images.
    Workflow(repository, workflow.directory, studies={"tiny": {"refine": refine | {"jobs": 1}}}).run("refine")
    assert (folder / "refined.csv").read_bytes() == whole
    single = store.read_dataset(folder / "round-1" / "0-of-1.nc")
    for name in ("index", "image", "embedding"):
        parts = [
            store.read_dataset(folder / "round-1" / f"{part}-of-2.nc")[name].to_numpy() for part in (0, 1)
        ]
        for part in (0, 1):
            assert (single[name].to_numpy()[part::2] == parts[part]).all(), name
