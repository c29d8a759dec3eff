"""What is measured: servers of their own process, on loopback, pinned to the first core."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml
from e2e.ports import free_ports

from bench.building import responder

PATIENCE = 300.0
_TICKS = os.sysconf("SC_CLK_TCK")
HERE = Path(__file__).resolve().parent


def core(number: int) -> list[str]:
    """Return the words that pin a command to a core; none where there is but one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or not shutil.which("taskset"):
        return []
    return ["taskset", "-c", str(cores[number])]


@dataclass
class Subject:
    """A server: how it is called, and its process while it runs."""

    name: str
    command: list[str]
    port: int
    process: subprocess.Popen[bytes] | None = None
    started_in: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)
    log: Path | None = None
    admin: Path | None = None
    pid_file: Path | None = None
    """Where it says which process it has become, if it does not stay the one it was."""

    def start(self) -> Self:
        # a benchmark that is killed leaves nobody behind
        guarded = [*core(0), "setpriv", "--pdeathsig", "TERM", *self.command]
        begun = time.perf_counter()
        with contextlib.ExitStack() as undo:
            log: Any = subprocess.DEVNULL
            if self.log:
                log = undo.enter_context(self.log.open("ab"))
            self.process = subprocess.Popen(  # noqa: S603
                guarded,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=os.environ | self.environment,
                start_new_session=True,
            )
        self._wait_for_an_answer(begun + PATIENCE)
        self.started_in = time.perf_counter() - begun
        return self

    def _wait_for_an_answer(self, deadline: float) -> None:
        assert self.process
        while True:
            with contextlib.suppress(OSError):
                if ask(self.port, {"protocol_state": "VRFY"}):
                    return
            gone = self.process.poll() is not None and not self.pid_file
            if gone or time.perf_counter() > deadline:
                said = self.log.read_text(errors="replace")[-2000:] if self.log else ""
                raise RuntimeError(f"{self.name} does not start: {said}")
            time.sleep(0.002)

    def stop(self) -> None:
        """Stop it, and what it has started."""
        if not self.process:
            return
        family = self.pids()
        with contextlib.suppress(ProcessLookupError):
            os.kill(family[0], signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in family[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process = None

    def pids(self) -> list[int]:
        """Return the numbers of its processes."""
        assert self.process
        if self.pid_file:
            return pids(int(self.pid_file.read_text(encoding="ascii")))
        return pids(self.process.pid)

    def resident(self) -> int:
        """Return the memory that it takes, in bytes."""
        return sum(_resident(pid) for pid in self.pids())


def open_files() -> int:
    """Return how many files a process may have open; as many as we can make it."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def pids(parent: int) -> list[int]:
    """Return *parent* and all that descend from it."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    except OSError:  # it has ended
        return [parent]
    return [parent, *(pid for child in children.split() for pid in pids(int(child)))]


def _resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def seconds_of(processes: Sequence[int]) -> float:
    """Return the CPU time that *processes* have taken, with their children that have ended."""
    ticks = 0
    for pid in processes:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            ticks += sum(map(int, text.rpartition(")")[2].split()[11:15]))
    return ticks / _TICKS


def ask(port: int, request: dict[str, str]) -> bytes:
    """Return the answer to one request."""
    text = "".join(f"{k}={v}\n" for k, v in {"request": "smtpd_access_policy", **request}.items())
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(text.encode() + b"\n")
        return connection.recv(4096)


class Subjects:
    """Makes subjects; *policyd* and *python* are those to measure. All end with the `with`."""

    def __init__(self, policyd: Sequence[str] = (), python: str = "") -> None:
        self.policyd_command = [*policyd] or [sys.executable, "-m", "policyd"]
        beside = Path(self.policyd_command[0]).with_name("python")
        found = str(beside.absolute()) if policyd and beside.exists() else sys.executable
        self.python = python or found
        self._leave = contextlib.ExitStack()

    def __enter__(self) -> Self:
        open_files()  # what is started inherits it
        self._directory = Path(
            self._leave.enter_context(tempfile.TemporaryDirectory(prefix="policyd-bench-"))
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.close()

    def policyd(self, rules: dict[str, Any], name: str = "policyd", state: str = "") -> Subject:
        """Return the daemon with *rules*; the same *state* again finds what was counted."""
        directory = self._directory / (state or f"{name}-{time.monotonic_ns()}")
        directory.mkdir(exist_ok=True)
        (directory / "state").mkdir(exist_ok=True)
        (directory / "policy.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
        (port,) = free_ports(1)
        words = [
            *("serve", "--config", str(directory / "policy.yaml")),
            *("--listen", f"tcp:127.0.0.1:{port}", "--state", str(directory / "state")),
            *("--admin", str(directory / "admin.sock")),
        ]
        command, admin = [*self.policyd_command, *words], directory / "admin.sock"
        return self.of(Subject(name, command, port, log=directory / "log", admin=admin))

    def noop(self) -> Subject:
        """Return the responder on the same Twisted that parses all attributes."""
        (port,) = free_ports(1)
        return self.of(Subject("noop", [self.python, str(HERE / "noop.py"), str(port)], port))

    def responder(self) -> Subject:
        """Return the responder in C."""
        (port,) = free_ports(1)
        return self.of(Subject("responder", [str(responder()), str(port)], port))

    def directory(self, name: str) -> Path:
        """Return a directory for a subject that may not be root's."""
        directory = self._directory / name
        directory.mkdir(exist_ok=True)
        self._directory.chmod(0o755)
        shutil.chown(directory, "nobody", "nogroup")
        return directory

    def of(self, subject: Subject) -> Subject:
        """Return *subject*, which is stopped in the end."""
        self._leave.callback(subject.stop)
        return subject

    @contextlib.contextmanager
    def running(self, *subjects: Subject) -> Iterator[None]:
        """Let *subjects* run for as long as the `with`."""
        with contextlib.ExitStack() as leave:
            for subject in subjects:
                leave.callback(subject.stop)
                subject.start()
            yield
