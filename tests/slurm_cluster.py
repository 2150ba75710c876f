"""A SLURM cluster of one node on this machine, with two partitions and GPUs that are none."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from filelock import FileLock

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo")
# Nested commands of SLURM read their configuration here alone.
FOLDER = Path("/etc/slurm")
KEY = Path("/etc/munge/munge.key")
MARK = "# Written by the tests of hessgeo."
SECONDS = 60  # against hanging; the daemons are up in two
# Options for jobs of seconds, by profile: one need not wait 40 of them before asking, nor for files of other machines.
SOON = {
    "slurm": ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5"),
    "generic": ("--seconds-between-status-checks", "2", "--latency-wait", "5"),
}

CONFIGURATION = """{mark}
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# The node is what is said of it, not what the machine has.
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=86400
SlurmctldTimeout=30
SlurmdTimeout=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10
"""


def missing():
    """Why no cluster can be started here, or nothing."""
    if os.geteuid() != 0:
        return "its daemons are started by root alone"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"{absent[0]} is not here (apt-get install slurm-wlm munge)"
    own = FOLDER / "slurm.conf"
    if own.exists() and MARK not in own.read_text():
        return f"{own} is of another cluster"
    return ""


class Cluster:
    """The daemons, started, killed and started again by process id.

    Args:
        folder: of their state and logs.
        cpus: of the node.
        memory: of the node, MB.
        gpus: devices in name only.
    """

    def __init__(self, folder, *, cpus=8, memory=16_000, gpus=2):
        self.folder, self.cpus, self.memory, self.gpus = Path(folder), cpus, memory, gpus
        self.host = socket.gethostname().partition(".")[0]
        self.running = {}

    def configure(self):
        """Write the configuration, and device nodes for the GPUs."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        FOLDER.mkdir(exist_ok=True)
        amounts = {"cpus": self.cpus, "memory": self.memory, "gpus": self.gpus}
        about = {"mark": MARK, "host": self.host, "folder": self.folder}
        (FOLDER / "slurm.conf").write_text(CONFIGURATION.format(**about, **amounts))
        lines = [MARK, "AutoDetect=off"]
        for index in range(self.gpus):
            device = self.folder / f"gpu{index}"
            # The numbers of /dev/null, which nothing asks anything of.
            os.mknod(device, 0o600 | 0o020000, os.makedev(1, 3))
            lines.append(f"NodeName={self.host} Name=gpu File={device}")
        (FOLDER / "gres.conf").write_text("\n".join(lines) + "\n")

    def start(self):
        """Start all daemons that do not run, and wait until the node takes jobs."""
        self._start_munge()
        # In the foreground, so that their process ids are ours; what was queued is taken up again.
        for name, options in (("slurmctld", ["-D"]), ("slurmd", ["-D", "-N", self.host])):
            if name not in self.running:
                with (self.folder / f"{name}.out").open("ab") as log:
                    self.running[name] = subprocess.Popen(
                        [name, *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL
                    )
        deadline = time.monotonic() + SECONDS
        while self.state() not in ("idle", "mixed", "allocated"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the node is {self.state()!r}, not idle: {self._logs()}")
            time.sleep(0.2)

    def _start_munge(self):
        if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
            return
        if not KEY.exists():
            subprocess.run(["mungekey"], check=True, capture_output=True)
        user = pwd.getpwnam("munge")
        for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
            Path(folder).mkdir(exist_ok=True)
            os.chown(folder, user.pw_uid, user.pw_gid)
        os.chown(KEY, user.pw_uid, user.pw_gid)
        self.running["munged"] = subprocess.Popen(
            ["munged", "--foreground"], user="munge", group="munge", stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + SECONDS
        while subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise TimeoutError("munged does not answer")
            time.sleep(0.1)

    def state(self):
        """Of the node, as ``sinfo`` has it."""
        command = ["sinfo", "--noheader", "--partition=cpu", "--format=%T"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        return done.stdout.strip().rstrip("*~#")

    def jobs(self, state="running"):
        """Ids of jobs by their comments, which name the rule."""
        command = ["squeue", "--noheader", f"--states={state}", "--format=%i %k"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
        return dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line.strip())

    def numbers(self, state="all"):
        """Numbers of jobs."""
        command = ["squeue", "--noheader", f"--states={state}", "--format=%A"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
        return done.stdout.split()

    def kill(self, *names):
        """End daemons at once, as a machine that fails does."""
        for name in names:
            daemon = self.running.pop(name)
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()

    def stop(self):
        """End all jobs and daemons."""
        subprocess.run(["scancel", "--user=root"], capture_output=True, check=False, timeout=SECONDS)
        time.sleep(0.5)
        for name in ("slurmd", "slurmctld", "munged"):
            daemon = self.running.pop(name, None)
            if daemon is None:
                continue
            daemon.terminate()
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for name in ("slurm.conf", "gres.conf"):
            (FOLDER / name).unlink(missing_ok=True)

    def _logs(self):
        return [file.read_text(errors="replace")[-1500:] for file in self.folder.glob("slurm*.log")]


@contextlib.contextmanager
def cluster(folder, **amounts):
    """A cluster that runs within a ``with`` block, the only one here; arguments as of ``Cluster``."""
    made = Cluster(folder, **amounts)
    FOLDER.mkdir(exist_ok=True)
    with FileLock(FOLDER / "tests.lock"):
        try:
            made.configure()
            made.start()
            yield made
        finally:
            made.stop()
