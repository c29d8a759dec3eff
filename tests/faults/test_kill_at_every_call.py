"""Killed before any system call about the state: what was kept is there, all of it and once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from policyd.storage.store import Store

from .strace import FORKS, Call
from .trials import Beginning, Program, in_parallel, sample
from .writing import NOW, STEPS, Moment, added, counted, known, moments

pytestmark = pytest.mark.usefixtures("strace")


def found(directory: Path, *, broken: bool) -> tuple[bytes, Moment]:
    """Return what the next daemon finds; only one that was *broken* may be complained of."""
    store = Store(directory)
    contents, problems = store.open(NOW)
    assert broken or problems == ()
    moment = Moment(known(contents), tuple(contents.transactions))
    # nothing that the dead one left behind is in the way of what comes next
    store.write(counted(300, later=True), NOW, snapshot=True)
    store.copy()
    store.close()
    again = Store(directory)
    contents, problems = again.open(NOW)
    again.close()
    assert problems == ()
    assert known(contents) == added(moment.known, counted(300, later=True))
    return contents.secret, moment


@pytest.mark.parametrize(
    ("how", "steps"), [("nothing", len(STEPS)), ("killed", 4), ("version 1", 4), ("broken", 4)]
)
def test_a_kill_at_any_call_costs_nothing_that_was_written(
    tmp_path: Path, figure: Callable[[str], None], how: str, steps: int
) -> None:
    beginning = Beginning(tmp_path, how)
    expected = moments(beginning.allowed[0])
    program = Program()
    unharmed = program.run(beginning.again("unharmed"), f"{steps}\t")
    program.close()
    assert [line.split()[0] for line in unharmed.said] == [step.what for step in STEPS[:steps]]
    assert found(unharmed.directory, broken=False)[1] == expected[steps]

    def trial(program: Program, at: Call) -> None:
        where = beginning.again(f"{at.name}-{at.number}")
        inject = f"{at.name}:signal=SIGKILL:when={at.number}"
        run = program.run(where, f"{steps}\t", inject)
        assert run.code == -9
        assert len(run.calls) == 1 + unharmed.calls.index(at)
        with FORKS:
            secret, moment = found(where, broken=how == "broken")
        done = len(run.said)
        assert moment in expected[done : done + 2], moment
        if run.said:
            assert run.said[0] == f"open {secret.hex()}"
        names = {path.name.split("-")[0] for path in where.iterdir()}
        assert how == "broken" or not names & {"state.sqlite3.corrupt", "state.sqlite3.unknown"}
        shutil.rmtree(where)

    killed = in_parallel(sample(unharmed.calls, short=60), trial)
    figure(f"killed at {killed} of {len(unharmed.calls)} calls")
