"""The configuration files of a Slurm for tests: every node is this machine under a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """What the files are made of. Ports are on the loopback; `nodes` maps a name to its port."""

    folder: Path
    host: str
    nodes: dict[str, int]
    gpus: int
    controller_port: int
    accounting_port: int
    rest_port: int
    database_password: str
    cgroups: bool
    accounting: bool
    enforce: bool
    min_job_age: int
    cpus: int = 64
    memory_mb: int = 512_000
    gpu_type: str = "a100"
    partition: str = "gpu"
    cluster: str = "lab"
    extra: list[str] = field(default_factory=list)

    @property
    def munge_socket(self) -> Path:
        """Where munged listens."""
        return self.folder / "munge.socket"

    @property
    def jwt_key(self) -> Path:
        """The key that signs tokens for slurmrestd."""
        return self.folder / "etc" / "jwt_hs256.key"


def slurm_conf(lab: Layout) -> str:
    """slurm.conf: node loss is noticed and killed work is gone within seconds."""
    track = ("proctrack/cgroup", "task/cgroup") if lab.cgroups else ("proctrack/linuxproc", "none")
    task = track[1] if lab.cgroups else "task/none"
    lines = [
        f"ClusterName={lab.cluster}",
        f"SlurmctldHost={lab.host}(127.0.0.1)",
        f"SlurmctldPort={lab.controller_port}",
        "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={lab.munge_socket}",
        "AuthAltTypes=auth/jwt",
        f"AuthAltParameters=jwt_key={lab.jwt_key}",
        "CredType=cred/munge",
        "MpiDefault=none",
        f"ProctrackType={track[0]}",
        f"TaskPlugin={task}",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=5",
        "SwitchType=switch/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "DefMemPerCPU=1000",
        "GresTypes=gpu",
        "SlurmdParameters=config_overrides",
        "PropagateResourceLimits=NONE",
        f"StateSaveLocation={lab.folder}/state",
        f"SlurmdSpoolDir={lab.folder}/spool/%n",
        f"SlurmctldPidFile={lab.folder}/run/slurmctld.pid",
        f"SlurmdPidFile={lab.folder}/run/slurmd-%n.pid",
        f"SlurmctldLogFile={lab.folder}/log/slurmctld.log",
        f"SlurmdLogFile={lab.folder}/log/slurmd-%n.log",
        "SlurmctldDebug=info",
        "SlurmdDebug=info",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,bf_continue",
        "PriorityType=priority/multifactor",
        "PreemptType=preempt/qos",
        "PreemptMode=REQUEUE",
        "ReturnToService=2",
        "SlurmdTimeout=4",
        "SlurmctldTimeout=10",
        "MessageTimeout=10",
        "InactiveLimit=0",
        "KillWait=2",
        "UnkillableStepTimeout=60",
        f"MinJobAge={lab.min_job_age}",
        "JobRequeue=1",
        *_accounting(lab),
        *lab.extra,
        *(_node(lab, name, port) for name, port in lab.nodes.items()),
        f"PartitionName={lab.partition} Nodes=ALL Default=YES MaxTime=7-0 DefaultTime=60 State=UP",
    ]
    return "\n".join(lines) + "\n"


def _accounting(lab: Layout) -> list[str]:
    if not lab.accounting:
        return ["AccountingStorageType=accounting_storage/none"]
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={lab.accounting_port}",
        # slurmdbd traffic ignores AuthInfo: its munge socket is named here.
        f"AccountingStoragePass={lab.munge_socket}",
        "AccountingStorageTRES=gres/gpu",
        *(["AccountingStorageEnforce=associations,limits,qos"] if lab.enforce else []),
    ]


def _node(lab: Layout, name: str, port: int) -> str:
    return (
        f"NodeName={name} NodeHostname={lab.host} NodeAddr=127.0.0.1 Port={port} "
        f"CPUs={lab.cpus} Boards=1 SocketsPerBoard=2 CoresPerSocket={lab.cpus // 2} "
        f"ThreadsPerCore=1 RealMemory={lab.memory_mb} Gres=gpu:{lab.gpu_type}:{lab.gpus} "
        f"Feature={lab.gpu_type} State=UNKNOWN"
    )


def gres_conf(lab: Layout) -> str:
    """gres.conf: slurmd takes only device files for GPUs, so there are some."""
    return "".join(
        f"NodeName={name} Name=gpu Type={lab.gpu_type} "
        f"File={lab.folder}/dev/{name}/nvidia[0-{lab.gpus - 1}]\n"
        for name in lab.nodes
    )


CGROUP_CONF = """CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainCores=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
ConstrainDevices=yes
"""


def slurmdbd_conf(lab: Layout) -> str:
    """slurmdbd.conf: the database is reached through a Unix socket named in the environment."""
    return "\n".join(
        [
            "AuthType=auth/munge",
            f"AuthInfo=socket={lab.munge_socket}",
            "AuthAltTypes=auth/jwt",
            f"AuthAltParameters=jwt_key={lab.jwt_key}",
            "DbdHost=localhost",
            "DbdAddr=127.0.0.1",
            f"DbdPort={lab.accounting_port}",
            "SlurmUser=root",
            f"LogFile={lab.folder}/log/slurmdbd.log",
            f"PidFile={lab.folder}/run/slurmdbd.pid",
            "StorageType=accounting_storage/mysql",
            "StorageHost=localhost",
            "StorageUser=slurm",
            f"StoragePass={lab.database_password}",
            "StorageLoc=slurm_acct_db",
            "CommitDelay=1",
            "",
        ]
    )
