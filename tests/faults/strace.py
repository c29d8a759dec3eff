"""System calls that fail, or that a process does not survive: by strace, for one directory."""

import os
import random
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from excuse import need, unable

from policyd.storage.files import COPY, DATABASE

LONG: Final = os.environ.get("POLICYD_FAULTS", "short") == "long"
SEED: Final = int(os.environ.get("POLICYD_FAULTS_SEED") or random.SystemRandom().getrandbits(32))
PATIENCE: Final = 120.0
T = TypeVar("T")

FORKS: Final = threading.Lock()
"""Held while a process is started, which has the locks of this one until it is another program."""

_FILES: Final = (
    "lock",
    *(
        f"{name}{ending}"
        for name in (DATABASE, f"{DATABASE}.new", COPY, f"{COPY}.new")
        for ending in ("", "-wal", "-shm", "-journal")
    ),
)


def chosen(cases: Sequence[T], number: int) -> Sequence[T]:
    """Return all *cases* in the long form, so many of them in the short one."""
    return cases if LONG else random.Random(SEED).sample(cases, number)


class Call(NamedTuple):
    """The *number*-th system call of that *name*."""

    name: str
    number: int


def need_strace() -> None:
    """Skip the test where nothing can be traced."""
    need("strace", "strace")
    with subprocess.Popen(["sleep", "60"]) as process:
        command = ["strace", "-o", "/dev/null", "-p", str(process.pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            said = tracer.stderr.readline()
            process.kill()
    if "attached" not in said:
        unable(f"ptrace is not permitted: {said}")


def strace(directory: Path, log: Path, inject: Sequence[str]) -> list[str]:
    """Return how to call strace; only calls about the state *directory* count, and fail."""
    paths = [directory, *(directory / name for name in _FILES)]
    return [
        *("strace", "-f", "-o", str(log), "-e", "trace=%file,%desc"),
        *(word for path in paths for word in ("-P", str(path))),
        *(word for one in inject for word in ("-e", f"inject={one}")),
    ]


class Tracer:
    """A strace of the process *pid*, until it ends or *detach*."""

    def __init__(self, pid: int, directory: Path, log: Path, *inject: str) -> None:
        command = [*strace(directory, log, inject), "-p", str(pid)]
        with FORKS:
            self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        said = self._process.stderr.readline()
        assert "attached" in said, said

    def detach(self) -> None:
        """Let the process go on alone."""
        self._process.kill()
        self.wait()

    def wait(self) -> None:
        """Wait until the process has ended."""
        with self._process as process:
            process.wait(PATIENCE)


def calls(log: Path) -> list[Call]:
    """Return the calls in the *log* of strace, in their order."""
    counts: Counter[str] = Counter()
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if call := re.match(r"\d+ +(\w+)\(", line):
            counts[call[1]] += 1
            found.append(Call(call[1], counts[call[1]]))
    return found
