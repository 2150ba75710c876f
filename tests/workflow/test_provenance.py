"""What is due after a change: of code, of files and their places, of how much is done at once."""

import os
import shutil

import pytest

pytestmark = pytest.mark.slow


def due(workflow, *arguments):
    """The jobs that a run would do, by rule; none if there is nothing to be done."""
    result = workflow.run(*arguments, "--dry-run", "--quiet", "rules")
    if "Nothing to be done" in result.stdout + result.stderr:
        return {}
    table = result.stdout.partition("total")[0].splitlines()
    return {
        line.split()[0]: int(line.split()[1])
        for line in table
        if line.split()[1:2] and line.split()[1].isdigit()
    }


@pytest.fixture
def checkout(repository, tmp_path):
    """A copy of the code whose files can be changed: ``checkout(file, old, new)``."""
    copy = tmp_path / "checkout"
    for name in ("hessgeo", "workflow", "envs"):
        shutil.copytree(repository / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(repository / name, copy / name)
    # Snakemake finds the workflow's own profile by it.
    (copy / "profiles").symlink_to("workflow/profiles")

    def change(file, old, new):
        text = (copy / file).read_text()
        assert old in text
        (copy / file).write_text(text.replace(old, new, 1))

    change.folder = copy
    return change


def test_steps_are_done_again_when_the_code_they_import_changes(copied, checkout):
    workflow = copied()
    workflow.repository = checkout.folder
    assert due(workflow) == {}
    checkout("hessgeo/systems/diffusion/system.py", '"""', '"""In other words: ')
    checkout("hessgeo/posteriors/distance.py", "\nfrom ", "\n# A comment.\nfrom ")
    checkout("workflow/scripts/generate_samples.py", '"""', '"""In other words: ')
    assert due(workflow) == {}
    checkout("hessgeo/phases/segment.py", "\nimport numpy", "\nNEW = 1\nimport numpy")
    after = due(workflow)
    assert "segment_phases" in after
    assert not {"generate_samples", "embed_samples", "estimate_posterior", "fit_free_energy"} & set(after)
    checkout("hessgeo/features/pixels.py", "\nimport math", "\nimport math\nNEW = 1")
    after = due(workflow)
    assert after["embed_samples"] == 4
    assert "generate_samples" not in after
    # Which makes the metadata that samples are known by.
    checkout("workflow/scripts/create_samples.py", "\nfrom", "\nNEW = 1\nfrom")
    assert due(workflow)["generate_samples"] == 4


def test_images_are_the_same_however_many_shards_a_job_makes(finished, copied):
    workflow = copied(studies={"tiny": {"sampling": {"shards_per_job": 3}}})
    images = [*workflow.shards("image"), *workflow.sidecars("image")]
    for path in images:
        workflow(path).unlink()
    made = workflow.run(*images, cores=1)
    assert "Generate shards 0 to 2 of the samples of tiny" in made.stdout + made.stderr
    assert workflow.contents(workflow.shards("image")) == finished.contents(finished.shards("image"))
    for path in workflow.sidecars("image"):
        assert '"model"' in workflow(path).read_text()


def test_a_generator_is_known_by_its_content(workflow_in, tmp_path):
    import torch

    class Wave(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.sin(z @ torch.arange(64.0).view(4, 16)).view(-1, 1, 4, 4)

    (tmp_path / "run").mkdir()
    model = tmp_path / "run" / "wave.ts"
    torch.jit.trace(Wave(), torch.zeros(1, 4)).save(model)
    system = {"kind": "generator", "checkpoint": "wave.ts", "latent": [4], "size": [4, 4], "channels": 1}
    base = {
        "run": ["waves"],
        "defaults": {
            "system": system,
            "embedding": {"kind": "pixels"},
            "sampling": {"grid": [16, 16], "shard": 128},
            "free_energy": {"splines": [8, 8]},
        },
        "studies": {"waves": {}},
    }

    def study(**change):
        return workflow_in(tmp_path / "run", base=base, **change)

    first = study()
    arrays = ("t", "image", "embedding")
    targets = [path for array in arrays for path in first.in_folder().complete(array)]
    first.run(*targets)
    assert due(first, *targets) == {}
    # Neither how much is done at once nor the place of a file is a reason to do it again.
    model.rename(model.with_name("moved.ts"))
    os.utime(model.with_name("moved.ts"))
    moved = study(
        defaults={"system": {"checkpoint": "moved.ts", "batch_size": 32}, "embedding": {"batch_size": 7}}
    )
    assert due(moved, *targets) == {}
    # Another model in its place is, though it is older than the images.
    data = bytearray(model.with_name("moved.ts").read_bytes())
    data[-1] ^= 1  # of the comment of the archive, which changes no image: content is content
    model.with_name("moved.ts").write_bytes(data)
    os.utime(model.with_name("moved.ts"), ns=(0, 0))
    other = moved.in_folder()
    assert other.samples not in targets[0]
    assert due(moved, *other.complete("image"))["generate_samples"] == 2
