"""System calls that fail, once or from then on: what was given is kept once they work again."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from policyd.storage.store import Store

from .strace import FORKS, Call
from .trials import Beginning, Program, in_parallel, sample
from .writing import NOW, WAITS, differences, known

pytestmark = pytest.mark.usefixtures("strace")

WRITES = "openat pwrite64 write fdatasync fsync ftruncate mkdir rename".split()
NAMES = "openat mkdir rename unlink newfstatat".split()
# close() frees the descriptor whatever it returns; one that is not called leaves it open
ERRORS = {"EIO": None, "ENOSPC": WRITES, "EACCES": NAMES, "EROFS": NAMES}


class Failure(NamedTuple):
    """*call* fails with *error*; *on*, and so do all that come after it."""

    call: Call
    error: str
    on: str


def failures(calls: list[Call]) -> Iterator[Failure]:
    for call in calls:
        for error, names in ERRORS.items():
            if call.name in (names or {call.name} - {"close"}):
                yield from (Failure(call, error, on) for on in ("", "+"))


@pytest.mark.parametrize("how", ["nothing", "killed", "version 1", "broken"])
def test_errors_lose_nothing_that_was_counted_and_count_nothing_twice(
    tmp_path: Path, figure: Callable[[str], None], how: str
) -> None:
    beginning = Beginning(tmp_path, how)
    task = f"\t{beginning.allowed!r}"
    program = Program()
    unharmed = program.run(beginning.again("unharmed"), task)
    program.close()
    assert WAITS in unharmed.said

    def trial(program: Program, failure: Failure) -> None:
        (name, number), error, on = failure
        where = beginning.again(f"{name}-{number}-{error}{on}")
        run = program.run(where, task, f"{name}:error={error}:when={number}{on}")
        told = "\n".join(line[:300] for line in run.said)
        assert run.code == 0, told
        with FORKS:
            store = Store(where)
            contents, problems = store.open(NOW)
            store.close()
        assert problems == ()
        secret, truth = eval(run.said[-1])
        assert differences(known(contents), truth) == [], told
        assert contents.secret == secret
        shutil.rmtree(where)

    places = list(failures(unharmed.calls))
    failed = in_parallel(sample(places, short=600, long=12), trial)
    figure(f"{failed} of {len(places)} failures at {len(unharmed.calls)} calls")
