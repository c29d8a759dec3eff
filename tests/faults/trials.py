"""The program in *writing*, run again and again, each time with something else done to it."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from . import writing
from .strace import FORKS, LONG, SEED, Call, Tracer, calls
from .writing import Known

_WORKERS: Final = 2
_ENOUGH: Final = 5  # failures
T = TypeVar("T")


class Run(NamedTuple):
    """A run in *directory*: what the program said, its exit code, and the calls it made."""

    directory: Path
    said: list[str]
    code: int
    calls: list[Call]


class Beginning:
    """A directory to begin in, over and over; *allowed* is what may be found in it."""

    def __init__(self, place: Path, how: str) -> None:
        self._prepared = place / "prepared"
        self._place = place
        self.allowed: list[Known] = writing.prepared(self._prepared, how)

    def again(self, name: str) -> Path:
        return shutil.copytree(self._prepared, self._place / name)


class Program:
    """The program, ready to be run."""

    def __init__(self) -> None:
        with FORKS:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "faults.writing"],
                cwd=Path(__file__).parents[1],
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                bufsize=1,
            )

    def close(self) -> None:
        with self._process:
            pass  # at the end of its input it ends

    def run(self, directory: Path, task: str, *inject: str) -> Run:
        """Run it once with a *task*; what is injected is over when it waits."""
        log = directory.with_name(f"{directory.name}.log")
        to, of = self._process.stdin, self._process.stdout
        to.write(f"{directory}\t{task}\n")
        pid = int(of.readline())
        tracer = Tracer(pid, directory, log, *inject)
        os.kill(pid, signal.SIGCONT)
        said = []
        while not (line := of.readline()).startswith(writing.ENDED):
            said.append(line.rstrip("\n"))
            if said[-1] == writing.WAITS:
                tracer.detach()
                to.write("\n")
        tracer.wait()
        return Run(directory, said, int(line.split()[1]), calls(log))


def sample(found: Iterable[T], short: int, long: int = 1) -> Iterator[T]:
    """Yield one of so many that were *found*: in the *short* form or in the *long* one."""
    every = long if LONG else short
    chosen = random.Random(SEED).randrange(every)
    return (one for at, one in enumerate(found) if at % every == chosen)


def in_parallel(trials: Iterable[T], trial: Callable[[Program, T], None]) -> int:
    """Call *trial* for each of the *trials*; raise what went wrong, or return how many there were.

    As long as all goes well: a few failures tell as much as many.
    """
    left = list(trials)
    done: list[T] = []
    failures: list[Exception] = []

    def work() -> None:
        program = Program()
        try:
            while left and len(failures) < _ENOUGH:
                one = left.pop()
                try:
                    trial(program, one)
                except Exception as error:  # noqa: BLE001 - raised again, with the others
                    error.add_note(f"{one} (POLICYD_FAULTS_SEED={SEED})")
                    failures.append(error)
                done.append(one)
        finally:
            program.close()

    workers = [threading.Thread(target=work) for _ in range(_WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(done)} trials", failures)
    return len(done)
