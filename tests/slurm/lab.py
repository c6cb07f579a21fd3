"""A real Slurm on this machine, as root: a controller, four nodes of eight GPUs, accounts, REST.

Every "node" is a slurmd of its own under a name of its own; the GPUs are device files without a
driver behind them. Memory, devices and orphans are governed for real where cgroup v1 is
writable. Everything lies in a temporary folder, listens on the loopback only, on free ports, and
is ended by process id. Several labs may stand at once: node names and Unix users are their own.

In a test, ask for the session's lab (`slurm_lab`, see tests/slurm/fixtures.py)::

    def test_something(slurm_lab: SlurmLab) -> None:
        user = slurm_lab.add_user(7)       # team 7: Unix user and account
        slurm_lab.kill_node(1)             # power loss of node 1 (nodes count from 1)
        ...
        slurm_lab.start_node(1)            # as good as new
        slurm_lab.run("squeue")            # any Slurm tool, as root

`env` is the environment of a FastGPU that uses this Slurm. By hand::

    python -m tests.slurm.lab              # prints that environment, stays until Ctrl-C
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

import psutil

from clusters.backends.slurm import users
from clusters.backends.slurm.settings import SlurmSettings
from tests.ports import free_port
from tests.slurm import configuration

PROGRAMS = ("slurmctld", "slurmd", "slurmrestd", "munged", "slurmdbd", "mariadbd", "sacctmgr")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "devices", "freezer", "cpuset", "cpuacct")
NOBODY = 65534
START_SECONDS = 60.0
ACCOUNT = "fastgpu"


def missing() -> str:
    """Why no lab can be had on this machine; "" when one can."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    gone = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return f"{', '.join(gone)} not installed" if gone else ""


def has_cgroups() -> bool:
    """Whether Slurm can govern memory, devices and processes by cgroup v1 here."""
    needed = ("memory", "devices", "freezer")
    return all(os.access(CGROUPS / name / "cgroup.procs", os.W_OK) for name in needed)


class SlurmLab:
    """See the module. `with SlurmLab() as lab:` or start() and stop()."""

    def __init__(
        self,
        *,
        nodes: int = 4,
        gpus: int = 8,
        accounting: bool = True,
        enforce: bool = False,
        rest: bool = True,
        min_job_age: int = 300,
    ) -> None:
        """`enforce`: only users with an account may run, and limits of accounts hold.

        `min_job_age`: seconds after which squeue forgets an ended job (looked at each minute).
        """
        self.folder = Path(tempfile.mkdtemp(prefix="fastgpu-slurm-"))
        self.folder.chmod(0o755)
        tag = f"lab{os.getpid()}{self.folder.name[-2:].lower().replace('_', 'x')}"
        ports = [free_port() for _ in range(nodes + 3)]
        self.layout = configuration.Layout(
            folder=self.folder,
            host=socket.gethostname().split(".")[0],
            nodes={f"{tag}-{n + 1}": ports[n] for n in range(nodes)},
            gpus=gpus,
            controller_port=ports[-1],
            accounting_port=ports[-2],
            rest_port=ports[-3],
            database_password=secrets.token_hex(16),
            cgroups=has_cgroups(),
            accounting=accounting,
            enforce=enforce,
            min_job_age=min_job_age,
        )
        self.has_rest = rest
        self.root = self.folder / "shared"
        self.user_template = f"{tag}-t{{number}}"
        self.uid_base = 400_000 + secrets.randbelow(1_000) * 1_000
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._associated: set[int] = set()

    # ---- what others need to know ----

    @property
    def conf(self) -> Path:
        """Its slurm.conf."""
        return self.folder / "etc" / "slurm.conf"

    @property
    def rest_url(self) -> str:
        """Where slurmrestd answers; "" without one."""
        return f"http://127.0.0.1:{self.layout.rest_port}" if self.has_rest else ""

    @property
    def node_names(self) -> list[str]:
        """Names of the nodes; node n of the methods below is the n-th, from 1."""
        return list(self.layout.nodes)

    @property
    def settings(self) -> SlurmSettings:
        """For a SlurmBackend made by hand."""
        return SlurmSettings(
            root=self.root,
            conf=str(self.conf),
            rest_url=self.rest_url,
            jwt_key=self.layout.jwt_key if self.has_rest else None,
            user_template=self.user_template,
            create_users=True,
            uid_base=self.uid_base,
        )

    @property
    def env(self) -> dict[str, str]:
        """The environment variables of a FastGPU that uses this Slurm."""
        rest = {"SLURM_REST_URL": self.rest_url, "SLURM_JWT_KEY": str(self.layout.jwt_key)}
        return (rest if self.has_rest else {}) | {
            "SLURM_CONF": str(self.conf),
            "SLURM_ROOT": str(self.root),
            "SLURM_USER_TEMPLATE": self.user_template,
            "SLURM_CREATE_USERS": "1",
            "SLURM_UID_BASE": str(self.uid_base),
        }

    def run(self, *argv: str, check: bool = True, timeout: float = 30.0) -> str:
        """Run a Slurm tool as root; its standard output. CalledProcessError when it fails."""
        done = subprocess.run(
            argv, env=self._env(), capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode != 0:
            raise subprocess.CalledProcessError(
                done.returncode, argv, done.stdout, done.stderr
            ) from RuntimeError(done.stderr)
        return done.stdout

    def add_user(self, team_number: int, *, gpus_at_most: int | None = None) -> str:
        """The Unix user of a team, made with its account. Returns its name.

        `gpus_at_most`: Slurm keeps more than that waiting (with `enforce` only).
        """
        name = users.resolve(self.settings, team_number).pw_name
        if self.layout.accounting and team_number not in self._associated:
            self.run("sacctmgr", "-i", "add", "user", name, f"account={ACCOUNT}")
            self._associated.add(team_number)
        if gpus_at_most is not None:
            limit = f"GrpTRES=gres/gpu={gpus_at_most}"
            self.run("sacctmgr", "-i", "modify", "user", name, "set", limit)
        return name

    # ---- faults ----

    def kill_node(self, n: int) -> None:
        """Power loss: the node's daemon and everything that runs on it die at once."""
        name = self.node_names[n - 1]
        self._signal(f"slurmd-{name}", signal.SIGKILL)
        self._end_work(name)

    def silence_work(self, n: int) -> None:
        """What the node's jobs have to tell the controller, of their ends too, is never told."""
        found = [process.pid for process in _step_daemons(self.node_names[n - 1])]
        assert found, "nothing runs there"
        for pid in found:
            _kill(pid)

    def hang_node(self, n: int) -> None:
        """The node stops answering, its jobs go on."""
        self._signal(f"slurmd-{self.node_names[n - 1]}", signal.SIGSTOP)

    def continue_node(self, n: int) -> None:
        """A hung node answers again."""
        self._signal(f"slurmd-{self.node_names[n - 1]}", signal.SIGCONT)

    def start_node(self, n: int) -> None:
        """Start a killed node and wait until it takes work."""
        name = self.node_names[n - 1]
        self._start_node(name)
        self._wait(lambda: self._usable() >= {name}, f"{name} takes work")

    def down_node(self, n: int, reason: str = "taken down by a test") -> None:
        """Tell the controller that the node is lost: its work is requeued at once."""
        name = self.node_names[n - 1]
        self.run("scontrol", "update", f"nodename={name}", "state=down", f"reason={reason}")

    def kill_controller(self) -> None:
        """slurmctld dies; what runs goes on."""
        self._signal("slurmctld", signal.SIGKILL)

    def start_controller(self) -> None:
        """Start slurmctld and wait until it answers."""
        self._start("slurmctld", ["slurmctld", "-D"])
        self._wait(lambda: self._answers("scontrol", "ping"), "slurmctld answers")

    def kill_rest(self) -> None:
        """slurmrestd dies."""
        self._signal("slurmrestd", signal.SIGKILL)

    def start_rest(self) -> None:
        """Start slurmrestd and wait until its port is open."""
        plugins = "openapi/v0.0.38" + (",openapi/dbv0.0.38" if self.layout.accounting else "")
        address = f"127.0.0.1:{self.layout.rest_port}"
        # It refuses to run as root.
        self._start(
            "slurmrestd",
            ["slurmrestd", "-a", "rest_auth/jwt", "-s", plugins, address],
            user=NOBODY,
            env={"SLURM_JWT": "daemon"},
        )
        self._wait(lambda: _is_open(self.layout.rest_port), "slurmrestd answers")

    def heal(self) -> None:
        """Start again whatever a test has killed; wait until every node takes work."""
        if self._running["slurmctld"].poll() is not None:
            self.start_controller()
        if self.has_rest and self._running["slurmrestd"].poll() is not None:
            self.start_rest()
        for name in self.node_names:
            process = self._running[f"slurmd-{name}"]
            if process.poll() is not None:
                self._start_node(name)
            process.send_signal(signal.SIGCONT)
        for name in self.node_names:
            self.run("scontrol", "update", f"nodename={name}", "state=resume", check=False)
        self._wait(lambda: self._usable() >= set(self.node_names), "all nodes take work")

    def job_state(self, job_id: str) -> str:
        """The state squeue tells of a job, "" for one it does not know."""
        argv = ("squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T")
        return self.run(*argv, check=False).strip()

    def restarts(self, job_id: str) -> int:
        """How often Slurm has restarted a job it knows."""
        return int(self.run("squeue", "-h", "-t", "all", "-j", job_id, "-O", "RestartCnt"))

    def allow_preemption(self, qos: str) -> None:
        """A QOS that all may use and whose jobs push those of the normal one back."""
        if qos not in self.run("sacctmgr", "-n", "-P", "show", "qos", "format=name").split():
            self.run("sacctmgr", "-i", "add", "qos", qos, "Preempt=normal", "Priority=1000")
            self.run("sacctmgr", "-i", "modify", "account", ACCOUNT, "set", f"qos+={qos}")

    def wait_until_saved(self) -> None:
        """Until slurmctld has written its state after now: before that, its death forgets."""
        began = time.time()
        state = self.folder / "state" / "job_state"
        self._wait(lambda: state.exists() and state.stat().st_mtime > began, "jobs are saved")

    # ---- life ----

    def __enter__(self) -> SlurmLab:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.stop()

    def start(self) -> None:
        """Bring everything up; about 4 s with accounting. Nothing is left if that fails."""
        _remove_users_of_the_dead()
        try:
            self._write()
            socket_option = f"--socket={self.layout.munge_socket}"
            key = f"--key-file={self.folder}/munge/munge.key"
            files = [f"--{name}-file={self.folder}/munge/{name}" for name in ("pid", "log", "seed")]
            self._start("munged", ["munged", "--foreground", "--force", socket_option, key, *files])
            if self.layout.accounting:
                self._start_accounting()
            self._wait(self.layout.munge_socket.exists, "munged answers")
            self.start_controller()
            for name in self.node_names:
                self._start_node(name)
            if self.has_rest:
                self.start_rest()
            self._wait(lambda: self._usable() >= set(self.node_names), "all nodes take work")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process and remove the folder, the cgroups and the Unix users."""
        for name in ("slurmctld", "slurmrestd", *(f"slurmd-{node}" for node in self.node_names)):
            self._end(name)
        for node in self.node_names:
            self._end_work(node)
        for name in ("slurmdbd", "mariadbd", "munged"):
            self._end(name)
        for node in self.node_names:
            for folder in CGROUPS.glob(f"*/slurm_{node}"):
                _remove_cgroup(folder)
        for user in pwd.getpwall():
            if self.uid_base < user.pw_uid < self.uid_base + 1_000:
                subprocess.run(["userdel", user.pw_name], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self) -> None:
        for name in ("etc", "run", "log", "state", "spool", "dev", "munge", "shared"):
            (self.folder / name).mkdir(mode=0o755)
        for node in self.node_names:
            (self.folder / "spool" / node).mkdir()
            (self.folder / "dev" / node).mkdir()
            for number in range(self.layout.gpus):
                path = self.folder / "dev" / node / f"nvidia{number}"
                os.mknod(path, 0o020_666, os.makedev(195, number))
        files = {
            "munge/munge.key": secrets.token_bytes(1024),
            "etc/jwt_hs256.key": secrets.token_bytes(32),
            "etc/slurm.conf": configuration.slurm_conf(self.layout).encode(),
            "etc/gres.conf": configuration.gres_conf(self.layout).encode(),
            "etc/cgroup.conf": configuration.CGROUP_CONF.encode(),
            "etc/slurmdbd.conf": configuration.slurmdbd_conf(self.layout).encode(),
        }
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
            (self.folder / name).chmod(0o644 if name.endswith(".conf") else 0o600)
        (self.folder / "etc/slurmdbd.conf").chmod(0o600)

    def _start_accounting(self) -> None:
        data, address = self.folder / "mysql", self._database_socket
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            capture_output=True, check=True, timeout=START_SECONDS,
        )  # fmt: skip
        self._start("mariadbd", [
            "mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={address}",
            "--skip-networking", f"--pid-file={self.folder}/run/mariadbd.pid",
            "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M",
            "--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0",
            f"--log-error={self.folder}/log/mariadbd.log",
        ])  # fmt: skip
        client = ["mariadb", "--no-defaults", "-uroot", "-S", str(address), "-e"]
        grant = (
            "create database slurm_acct_db; "
            f"create user slurm@localhost identified by '{self.layout.database_password}'; "
            "grant all on slurm_acct_db.* to slurm@localhost"
        )
        self._wait(lambda: self._answers(*client, "select 1"), "mariadbd answers")
        self.run(*client, grant)
        self._start("slurmdbd", ["slurmdbd", "-D"], env={"MYSQL_UNIX_PORT": str(address)})
        self._wait(lambda: self._answers("sacctmgr", "-n", "show", "cluster"), "slurmdbd answers")
        self.run("sacctmgr", "-i", "add", "cluster", self.layout.cluster)
        self.run("sacctmgr", "-i", "add", "account", ACCOUNT, "Description=x", "Organization=x")
        if self.layout.enforce:
            self.run("sacctmgr", "-i", "add", "user", "root", f"account={ACCOUNT}")

    @property
    def _database_socket(self) -> Path:
        return self.folder / "my.sock"

    def _start_node(self, name: str) -> None:
        self._start(f"slurmd-{name}", ["slurmd", "-D", "-N", name])

    def _start(
        self,
        name: str,
        argv: list[str],
        *,
        user: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as out:
            self._running[name] = subprocess.Popen(
                argv,
                env=self._env() | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=self.folder,
                user=user,
                group=user,
                extra_groups=[] if user else None,
            )

    def _env(self) -> dict[str, str]:
        return {
            "PATH": PATH,
            "SLURM_CONF": str(self.conf),
            "MUNGE_SOCKET": str(self.layout.munge_socket),
            "LANG": "C.UTF-8",
        }

    def _answers(self, *argv: str) -> bool:
        try:
            self.run(*argv)
        except (subprocess.SubprocessError, OSError):
            return False
        return True

    def _usable(self) -> set[str]:
        lines = self.run("sinfo", "-h", "-N", "-o", "%N %T", check=False).splitlines()
        states = dict(line.split() for line in lines)
        good = ("idle", "mixed", "allocated", "completing")
        return {node for node, state in states.items() if state in good}

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {START_SECONDS:g} s: {what}\n{self._last_words()}")
            for name, process in self._running.items():
                if process.poll() not in (None, -signal.SIGKILL):
                    raise RuntimeError(f"{name} ended ({what})\n{self._last_words()}")
            time.sleep(0.03)

    def _last_words(self) -> str:
        files = sorted((self.folder / "log").glob("*"))
        return "\n".join(f"{file.name}: {file.read_text()[-600:]}" for file in files)

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self._running[name]
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait(10)

    def _end(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)

    def _end_work(self, node: str) -> None:
        """Kill what ran on a node: its step daemons first, so that none reports a mere failure."""
        for process in _step_daemons(node):
            below = process.children(recursive=True)
            for one in (process, *below):
                _kill(one.pid)
        deadline = time.monotonic() + 5
        while (left := _in_cgroups(node)) and time.monotonic() < deadline:
            for pid in left:
                _kill(pid)
            time.sleep(0.02)


def _remove_users_of_the_dead() -> None:
    """Unix users of labs whose process was killed."""
    for user in pwd.getpwall():
        found = re.fullmatch(r"lab(\d+)\w\w-t\d+", user.pw_name)
        if found and not psutil.pid_exists(int(found.group(1))):
            subprocess.run(["userdel", user.pw_name], capture_output=True, check=False)


def _is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _step_daemons(node: str) -> Iterator[psutil.Process]:
    """They write over their environment, and keep their node's log open."""
    log = f"slurmd-{node}.log"
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "slurmstepd" and any(
                Path(file.path).name == log for file in process.open_files()
            ):
                yield process


def _in_cgroups(node: str) -> list[int]:
    files = [*CGROUPS.glob(f"freezer/slurm_{node}/**/cgroup.procs")]
    files += CGROUPS.glob(f"memory/slurm_{node}/**/cgroup.procs")
    pids: set[int] = set()
    for file in files:
        with contextlib.suppress(OSError):
            pids.update(int(pid) for pid in file.read_text().split())
    return sorted(pids)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _remove_cgroup(folder: Path) -> None:
    for below in sorted(folder.glob("**/"), key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):
            below.rmdir()


def main() -> None:
    """Stand until interrupted."""
    parser = argparse.ArgumentParser(description="A real Slurm on this machine, until Ctrl-C.")
    parser.add_argument("--no-accounting", action="store_true", help="without slurmdbd")
    parser.add_argument("--nodes", type=int, default=4)
    options = parser.parse_args()
    reason = missing()
    if reason:
        sys.exit(reason)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with SlurmLab(nodes=options.nodes, accounting=not options.no_accounting) as lab:
        for name, value in lab.env.items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
