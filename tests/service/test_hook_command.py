"""Programs that are run, for real."""

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from service.reactors import PATIENCE, run, until
from twisted.internet.defer import Deferred

from policyd.service.hook_command import MOST_SAID, Command

A_WHILE = 0.2
EVER = 10_000.0
NEWS = b'{"event": "suspended", "secret": "hostile"}\n'

REPORT = """\
import json, os, sys
with open(sys.argv[1], "w") as file:
    json.dump(
        {
            "input": sys.stdin.read(),
            "argv": open("/proc/self/cmdline").read().split("\\0")[:-1],
            "environment": dict(os.environ),
            "directory": os.getcwd(),
            "session": os.getsid(0) == os.getpgid(0) == os.getpid(),
            "descriptors": [fd for fd in map(int, os.listdir("/proc/self/fd"))
                            if fd != file.fileno() and os.path.exists(f"/proc/self/fd/{fd}")],
        },
        file,
    )
"""


class Scripts:
    """Writes shell scripts and Python programs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def shell(self, text: str) -> list[str]:
        return [str(self._write("#!/bin/sh\n" + text))]

    def python(self, text: str) -> list[str]:
        return [sys.executable, "-I", str(self._write(text))]

    def _write(self, text: str) -> Path:
        path = self.directory / f"hook-{len(list(self.directory.iterdir()))}"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o700)
        return path


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path)


def outcome(
    command: list[str],
    data: bytes = NEWS,
    meanwhile: Callable[[Any, Command], object] = lambda *_: None,
) -> str:
    def work(reactor: Any) -> Deferred[str]:
        running = Command(reactor, command, data).begin()
        meanwhile(reactor, running)
        return running.ended

    said: str = run(work)
    return said


def ended_after(path: Path, grace: float) -> Callable[[Any, Command], object]:
    """Return what ends a program once it has made the file *path*."""

    def meanwhile(reactor: Any, running: Command) -> object:
        return until(reactor, path.exists).addCallback(lambda _: running.end(grace))

    return meanwhile


def is_at_work(process: int) -> bool:
    """Tell whether a process is there and not just waiting to be reaped by its parent."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def soon_gone(process: int) -> None:
    """Wait until a process that was killed is no more."""
    limit = time.monotonic() + PATIENCE
    while is_at_work(process):
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_it_has_the_news_on_its_input_and_nothing_anywhere_else(
    scripts: Scripts, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    command = [*scripts.python(REPORT), str(report), "", "two words", "$HOME `id` ; * \\ 'ö"]
    leaky = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaky, True)
    try:
        assert outcome(command) == ""
    finally:
        os.close(leaky)
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found["input"] == NEWS.decode()
    assert found["argv"] == command
    assert found["environment"] == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
    }
    assert found["directory"] == "/"
    assert found["session"] is True
    assert sorted(found["descriptors"]) == [0, 1, 2]


def test_signals_have_their_usual_meaning(scripts: Scripts, tmp_path: Path) -> None:
    report = tmp_path / "report"
    assert outcome(scripts.shell(f"grep -E '^Sig(Blk|Ign)' /proc/self/status >{report}\n")) == ""
    masks = [line.split()[1] for line in report.read_text(encoding="ascii").splitlines()]
    # signals 32 and 33 are the C library's own: no program can set them
    assert [int(mask, 16) & ~(0b11 << 31) for mask in masks] == [0, 0]


def test_a_failure_is_told_with_what_the_program_says(scripts: Scripts) -> None:
    command = scripts.shell('echo nobody hears this\necho " no such login \n" >&2\nexit 3\n')
    assert outcome(command) == "exit status 3: no such login"
    assert outcome(scripts.shell("exit 1\n")) == "exit status 1"
    assert outcome(scripts.shell("kill -SEGV $$\n")) == "killed by SIGSEGV"


def test_what_is_said_by_one_that_succeeds_is_nothing_wrong(scripts: Scripts) -> None:
    assert outcome(scripts.shell("echo well then >&2\n")) == ""


@pytest.mark.parametrize(("status", "said"), [(0, ""), (4, "exit status 4: ")])
def test_however_much_is_said_only_the_beginning_is_kept(
    scripts: Scripts, status: int, said: str
) -> None:
    noise = "head -c 20000000 /dev/zero | tr '\\0' '\\377'"
    command = scripts.shell(f"{noise}\n{noise} >&2\nexit {status}\n")
    assert outcome(command) == said + "\\xff" * (MOST_SAID if status else 0)


def test_a_program_that_is_not_there_is_named() -> None:
    assert outcome(["/no/such/program"]).startswith("exit status 127: ")
    assert "/no/such/program: No such file" in outcome(["/no/such/program"])


def test_a_program_that_may_not_be_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("", encoding="ascii")
    said = outcome([str(tmp_path / "plain")])
    assert said.startswith("exit status 126: ")
    assert "plain: Permission denied" in said


def test_a_program_need_not_read_its_input(scripts: Scripts) -> None:
    much = b"x" * 1_000_000
    assert outcome(scripts.shell("exit 0\n"), much) == ""
    assert outcome(scripts.shell("exec 0<&-\nexit 5\n"), much) == "exit status 5"


def test_much_input_arrives_whole(scripts: Scripts, tmp_path: Path) -> None:
    much = os.urandom(1_000_000)
    assert outcome(scripts.shell(f"cat >{tmp_path}/input\n"), much) == ""
    assert (tmp_path / "input").read_bytes() == much


def test_a_hanging_program_is_ended_and_not_waited_for_any_longer(
    scripts: Scripts, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    command = scripts.shell(f"echo too slow >&2\n: >{started}\nexec sleep 10000\n")
    assert outcome(command, NEWS, ended_after(started, EVER)) == "killed by SIGTERM: too slow"


def test_a_program_that_ends_well_when_asked_to_has_failed_all_the_same(
    scripts: Scripts, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    command = scripts.shell(f"trap 'exit 0' TERM\n: >{started}\nwhile :; do sleep 1; done\n")
    assert outcome(command, NEWS, ended_after(started, EVER)).startswith("exit status 0")


OBSTINATE = """\
import os, signal, sys, time
def obey(whether):
    signal.signal(signal.SIGTERM, signal.SIG_DFL if whether else signal.SIG_IGN)
who, pids, ready = sys.argv[1:]
obey(who == "child")
if not os.fork():
    obey(who == "parent")
    with open(pids, "w") as file:
        file.write(f"{os.getppid()} {os.getpid()}")
    os.rename(pids, ready)
while True:
    time.sleep(1)
"""


@pytest.mark.parametrize("who", ["parent", "child", "both"])
def test_what_does_not_end_when_asked_to_is_killed_with_all_its_children(
    scripts: Scripts, tmp_path: Path, who: str
) -> None:
    ready = tmp_path / "ready"
    command = [*scripts.python(OBSTINATE), who, str(tmp_path / "pids"), str(ready)]
    said = outcome(command, NEWS, ended_after(ready, A_WHILE))
    assert said == f"killed by {'SIGTERM' if who == 'child' else 'SIGKILL'}"
    for process in map(int, ready.read_text(encoding="ascii").split()):
        soon_gone(process)


def test_a_program_may_be_ended_before_it_has_begun(scripts: Scripts) -> None:
    command = scripts.shell("exec sleep 10000\n")
    said = outcome(command, NEWS, lambda _, running: running.end(A_WHILE))
    assert said != ""


def test_the_sooner_of_two_ends_counts(scripts: Scripts, tmp_path: Path) -> None:
    started = tmp_path / "started"
    command = scripts.shell(f"trap '' TERM\n: >{started}\nwhile :; do sleep 1; done\n")

    def meanwhile(reactor: Any, running: Command) -> None:
        def end(_: None) -> None:
            for grace in (EVER, A_WHILE, EVER):
                running.end(grace)

        until(reactor, started.exists).addCallback(end)

    assert outcome(command, NEWS, meanwhile) == "killed by SIGKILL"


def test_a_program_is_over_when_it_exits_whatever_it_leaves_running(
    scripts: Scripts, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    command = scripts.shell(f"sleep 10000 &\necho $! >{left}\nexit 0\n")
    assert outcome(command) == ""
    process = int(left.read_text(encoding="ascii"))
    assert is_at_work(process)
    os.kill(process, signal.SIGKILL)


def test_ending_one_that_is_over_does_nothing(scripts: Scripts) -> None:
    kept: list[Command] = []
    assert outcome(scripts.shell("exit 0\n"), NEWS, lambda _, one: kept.append(one)) == ""
    kept[0].end(A_WHILE)


def test_a_group_whose_number_has_become_another_process_is_left_alone(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Command] = []
    assert outcome(scripts.shell("exit 0\n"), NEWS, lambda _, one: kept.append(one)) == ""
    sent: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda *_: sent.append(1))
    kept[0]._group = os.getpid()
    assert kept[0]._signal(signal.SIGKILL) is False
    assert sent == []


def test_other_signals_arrive_while_programs_come_and_go(scripts: Scripts) -> None:
    heard: list[int] = []
    command = scripts.shell("exit 0\n")

    def work(reactor: Any) -> Deferred[None]:
        # as the daemon does
        signal.signal(signal.SIGHUP, lambda number, _: reactor.callFromThread(heard.append, number))
        ended: list[str] = []
        for _ in range(8):
            Command(reactor, command, NEWS).begin().ended.addCallback(ended.append)
            os.kill(os.getpid(), signal.SIGHUP)
        return until(reactor, lambda: len(ended) == len(heard) == 8)

    run(work)
    assert heard == [signal.SIGHUP] * 8


def test_no_process_and_no_descriptor_is_left(scripts: Scripts) -> None:
    counts: list[int] = []

    def work(reactor: Any) -> Deferred[Any]:
        gc.collect()  # what others have left
        counts.append(len(list(Path("/proc/self/fd").iterdir())))
        running = Command(reactor, scripts.shell("exit 0\n"), NEWS).begin()

        def look(_: str) -> None:
            counts.append(len(list(Path("/proc/self/fd").iterdir())))

        return running.ended.addCallback(look)

    run(work)
    assert counts[1] <= counts[0]
    with suppress(ChildProcessError):
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)
