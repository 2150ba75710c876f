"""Profiles of other schedulers than SLURM: a script that some command takes, and pods of Kubernetes."""

import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from kubernetes_server import kubernetes

# A scheduler that nobody administers: it takes a script, goes on with it apart, and prints a number.
SUBMIT = r"""printf '%s\n' "$*" >> submitted
for script; do :; done
nohup sh "$script" > "$script.out" 2>&1 &
echo $!
"""


def profile(repository, name):
    return repository / "workflow" / "profiles" / name


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_pods_are_planned_from_nothing(empty, repository):
    result = empty().run(
        "--workflow-profile", profile(repository, "kubernetes"), "--dry-run", "--quiet", "rules"
    )
    jobs = dict(line.split() for line in result.stdout.splitlines() if len(line.split()) == 2)
    assert (jobs["generate_samples"], jobs["fit_free_energy"]) == ("4", "1")


def test_objects_of_kubernetes_are_those_that_the_profile_names(repository):
    folder = profile(repository, "kubernetes")
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    objects = {one["kind"]: one for one in yaml.safe_load_all((folder / "objects.yaml").read_text())}
    pod = objects["Job"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]
    claim = volume["persistentVolumeClaim"]["claimName"]
    assert settings["kubernetes-persistent-volumes"] == [f"{claim}:{mount['mountPath']}"]
    assert objects["PersistentVolumeClaim"]["metadata"]["name"] == claim
    assert objects["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    assert objects["Namespace"]["metadata"]["name"] == settings["kubernetes-namespace"]
    account = objects["ServiceAccount"]["metadata"]["name"]
    assert pod["serviceAccountName"] == account == objects["RoleBinding"]["subjects"][0]["name"]
    tag = (repository / "containers" / "Dockerfile").read_text().split("--tag ")[1].split()[0]
    assert settings["container-image"] == container["image"] == tag
    assert container["args"][-1].removeprefix("/opt/hessgeo/") == str(folder.relative_to(repository))


@pytest.mark.parametrize(
    ("squeue", "sacct", "word"),
    [
        ("echo COMPLETED", "exit 1", "success"),
        ("echo RUNNING", "exit 1", "running"),
        ("echo PENDING", "exit 1", "running"),
        ("echo TIMEOUT", "exit 1", "failed"),
        ("echo OUT_OF_MEMORY", "exit 1", "failed"),
        ("echo Unable to contact slurm controller >&2; exit 1", "exit 1", "running"),
        # Forgotten, and known to the accounting or not.
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", "echo COMPLETED", "success"),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", "echo CANCELLED by 0", "failed"),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", "exit 1", "failed"),
    ],
)
def test_a_word_says_what_became_of_a_job(repository, tmp_path, stand_in, squeue, sacct, word):
    for name, script in (("squeue", squeue), ("sacct", sacct)):
        stand_in(name, f'case "$*" in *--jobs=17*) ;; *) exit 9 ;; esac\n{script}')
    command = [profile(repository, "generic") / "status.sh", "17;cluster"]
    done = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == (f"{word}\n", "")


def test_commands_of_other_schedulers_ask_for_what_jobs_have(repository):
    page = (repository / "docs" / "cluster.md").read_text()
    commands = re.findall(r"^\| (?:PBS|LSF|Grid Engine) \| `(.*?)` \|", page, re.MULTILINE)
    own = yaml.safe_load((profile(repository, "generic") / "config.yaml").read_text())
    resources = SimpleNamespace(mem_mb=4001, runtime=61, **own["default-resources"])
    assert len(commands) == 3
    for command in (own["cluster-generic-submit-cmd"], *commands):
        words = command.format(name="fit", threads=3, resources=resources)
        assert all(re.search(rf"\b{amount}", words) for amount in ("fit", "3", "4001", "61", "cpu")), words


@pytest.mark.slow
def test_what_any_command_submits_has_the_bytes_of_a_local_run(copied, repository, stand_in, tmp_path):
    workflow = copied()
    made = workflow(workflow.study.path("metric.nc"))
    before = digest(made)
    made.unlink()
    # As users change it who have another command, and none that tells what became of a job: its end is seen by a file.
    text = (profile(repository, "generic") / "config.yaml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("cluster-generic-status-cmd")]
    own = tmp_path / "own"
    own.mkdir()
    (own / "config.yaml").write_text("\n".join(lines))
    submit = stand_in("submit", SUBMIT)
    given = ("--cluster-generic-submit-cmd", f"{submit} -n {{threads}} -m {{resources.mem_mb}}")
    soon = ("--seconds-between-status-checks", "1", "--latency-wait", "5")
    workflow.run(made.relative_to(workflow.directory), *given, *soon, "--workflow-profile", own)
    assert digest(made) == before
    (asked,) = (workflow.directory / "submitted").read_text().splitlines()
    assert asked.startswith("-n 1 -m 4000 ")


@pytest.mark.slow
def test_what_pods_make_has_the_bytes_of_a_local_run_and_one_that_is_killed_gets_more(
    copied, repository, tmp_path
):
    workflow = copied()
    made = workflow(workflow.study.shards("embedding")[0])
    before = digest(made)
    made.unlink()
    node = {"cpu": 8, "memory": 64e9, "ephemeral-storage": 64e9, "nvidia.com/gpu": 1}
    about = {"namespace": "hessgeo", "claims": {"hessgeo": tmp_path}, "node": node}
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    with kubernetes(tmp_path / "pods", path=path, **about) as (cluster, where):
        volumes = ("--kubernetes-persistent-volumes", f"hessgeo:{tmp_path}")
        given = ("--envvars", "BUCKET_KEY", "--seconds-between-status-checks", "1", "--latency-wait", "5")
        profiled = ("--workflow-profile", profile(repository, "kubernetes"))
        process = subprocess.Popen(
            workflow.command(made.relative_to(workflow.directory), *volumes, *given, *profiled),
            cwd=tmp_path,
            env=os.environ | {"KUBECONFIG": str(where), "BUCKET_KEY": "4711"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + 300
        while process.poll() is None and not cluster.running() and time.monotonic() < deadline:
            time.sleep(0.1)
        try:
            (name,) = cluster.running()
            environment = Path(f"/proc/{cluster.jobs[name].pid}/environ").read_text()
            cluster.kill(name)
            printed, _ = process.communicate(timeout=600)
        finally:
            process.kill()
    assert "BUCKET_KEY=4711" in environment.split("\0")
    assert process.returncode == 0, printed[-3000:]
    assert digest(made) == before
    limits = [
        body["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] for body in cluster.bodies
    ]
    assert [limit["nvidia.com/gpu"] for limit in limits] == ["1", "1"]
    first, second = (int(limit["memory"].removesuffix("M")) for limit in limits)
    assert second == 2 * first
    assert cluster.secrets == {}
