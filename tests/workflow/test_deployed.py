"""The workflow as a module of another, in a folder of its own, as snakedeploy sets it up."""

import shutil
import subprocess
import sys
from collections import Counter

import pytest

pytestmark = pytest.mark.slow

# What snakedeploy writes, in our words: all rules of the module, with the settings in the folder.
SNAKEFILE = """
configfile: "config/config.yaml"

module hessgeo:
    snakefile: "{snakefile}"
    config: config

use rule * from hessgeo
"""


def test_a_deployed_workflow_has_the_jobs_of_the_checkout(repository, tmp_path, empty):
    tiny = empty()
    deployed = tmp_path / "deployed"
    (deployed / "workflow").mkdir(parents=True)
    shutil.copytree(repository / "config", deployed / "config")
    text = SNAKEFILE.format(snakefile=repository / "workflow" / "Snakefile")
    (deployed / "workflow" / "Snakefile").write_text(text)
    options = ["--dry-run", "--quiet", "rules", "--cores", "1", "--configfile", str(tiny.overrides_file)]
    command = [sys.executable, "-m", "snakemake", *options]
    done = subprocess.run(command, cwd=deployed, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)
    assert "Would remove" not in done.stdout
    # What the layout of the same settings has, however Snakemake came to them.
    figures = Counter(path.rpartition("/")[0] for path in tiny.layout.targets if path.endswith(".svg"))
    assert sum(name.startswith("draw_") for name in jobs) == figures[tiny.study.path("figures")]
    assert jobs["generate_samples"] == str(len(tiny.study.shards("image")))
    assert not (deployed / "results").exists()
