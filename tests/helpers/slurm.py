"""A cluster of one machine: SLURM's controller, its daemon and munge, on the loopback only."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CONF = Path("/etc/slurm/slurm.conf")
"""Where the programs look that a job starts; a variable does not reach them."""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue")
SETTINGS = """ClusterName=one
SlurmctldHost={host}(127.0.0.1)
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=300
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
"""


def lacking() -> str:
    """Why no cluster can be started here; empty if it can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian packages slurm-wlm and munge)"
    if os.geteuid():
        return "needs root, which starts SLURM's daemons"
    return f"there is a cluster: {CONF}" if CONF.exists() else ""


@dataclass
class Cluster:
    """The running daemons by name, and their folder."""

    folder: Path
    daemons: dict[str, "subprocess.Popen[bytes]"]

    def start(self, name: str, *command: str, **of_user: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, **of_user
            )

    def start_controller(self) -> None:
        self.start("slurmctld", "slurmctld", "-D")

    def kill_controller(self) -> None:
        self.daemons["slurmctld"].kill()
        assert self.daemons["slurmctld"].wait() == -signal.SIGKILL

    def wait_until_idle(self) -> None:
        told = ""
        for _ in range(60):
            asked = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True)
            told = asked.stdout + asked.stderr
            if asked.stdout.strip() in ("idle", "mixed", "allocated"):
                return
            time.sleep(0.5)
        logs = [log.read_text()[-500:] for log in self.folder.glob("*.log")]
        raise AssertionError(f"the node is not idle: {told}\n{logs}")


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Running while the context lasts."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    socket_folder = Path("/run/munge")
    socket_folder.mkdir(exist_ok=True)
    shutil.chown(socket_folder, "munge", "munge")
    CONF.write_text(SETTINGS.format(host=socket.gethostname(), folder=folder))
    own = Cluster(folder, {})
    try:
        own.start("munged", "munged", "--foreground", user="munge", group="munge")
        own.start_controller()
        own.start("slurmd", "slurmd", "-D")
        own.wait_until_idle()
        yield own
    finally:
        for daemon in reversed(own.daemons.values()):
            daemon.terminate()
        for daemon in own.daemons.values():
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        CONF.unlink()
