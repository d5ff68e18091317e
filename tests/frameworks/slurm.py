"""A SLURM of one node on this machine, for tests: its controller, its daemon and munge, without systemd or root.

On Debian: `apt-get install slurmctld slurmd slurm-client munge`.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.storage.servers import free_port
from tests.waiting import wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/node
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Return the program of SLURM that is not on this machine; None if all are."""
    return next((name for name in PROGRAMS if shutil.which(name, path=_PATH) is None), None)


class Cluster:
    """The cluster. Its configuration is `configuration`, for the variable SLURM_CONF."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.configuration = directory / "slurm.conf"
        self._daemons: list[subprocess.Popen[bytes]] = []
        munge = directory / "munge"
        for each in (directory / "state", directory / "node", munge):
            each.mkdir(parents=True)
        munge.chmod(0o711)
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o400)
        self.configuration.write_text(
            _CONFIGURATION.format(
                host=socket.gethostname().partition(".")[0],
                user=getpass.getuser(),
                directory=directory,
                port=free_port(),
                node_port=free_port(),
            )
        )
        files = [f"--{name}-file={munge / name}" for name in ("key", "pid", "log", "seed")]

        self._start("munged", "--force", "--foreground", f"--socket={munge / 'socket'}", *files)
        wait_until(lambda: (munge / "socket").exists())
        self._start("slurmctld", "-D", "-f", str(self.configuration))
        self._start("slurmd", "-D", "-f", str(self.configuration))
        wait_until(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"))

    def _start(self, *command: str) -> None:
        log = (self._directory / f"{command[0]}.out").open("wb")
        with log:
            self._daemons.append(subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PATH": _PATH}))

    def ask(self, *command: str) -> str:
        """Run a command of SLURM, and return what it says; "" if it fails."""
        environment = {**os.environ, "PATH": _PATH, "SLURM_CONF": str(self.configuration)}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60).stdout

    def submit(self, script: str, *options: str) -> str:
        """Submit a batch script, and return the job's ID."""
        Path("job.sh").write_text(f"#!/bin/bash\n{script}\n")
        said = self.ask("sbatch", "--parsable", "--output=job.out", "--open-mode=append", *options, "job.sh")
        assert said, (self._directory / "slurmctld.log").read_text()[-2000:]
        return said.strip()

    def requeue(self, job: str, restarts: int) -> None:
        """Have a job queued again, for the time that `restarts` says, and wait until it runs."""
        self.ask("scontrol", "requeue", job)
        self.hurry(job, restarts)

    def hurry(self, job: str, restarts: int) -> None:
        """Have a job that is queued again run without the two minutes for which SLURM would wait."""

        def shows(*words: str) -> bool:
            said = self.ask("scontrol", "show", "job", job).split()
            return all(word in said for word in (f"Restarts={restarts}", *words))

        wait_until(lambda: shows("JobState=PENDING", "Reason=BeginTime"), seconds=60)
        self.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
        wait_until(lambda: not shows("JobState=PENDING"), seconds=60)

    def wait(self, job: str, seconds: float = 120) -> None:
        """Wait until a job, with all tasks of its array, has ended."""
        final = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"}
        wait_until(
            lambda: (
                (states := self.ask("squeue", "-h", "-j", job, "-t", "all", "-o", "%T").split())
                and final.issuperset(states)
            ),
            seconds=seconds,
        )

    def stop(self) -> None:
        """End the cluster."""
        self.ask("scancel", "--state=RUNNING", f"--user={getpass.getuser()}")
        self.ask("scancel", f"--user={getpass.getuser()}")
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
