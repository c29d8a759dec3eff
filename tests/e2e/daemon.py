"""policyd itself, run as a postmaster runs it and watched through its log."""

import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import policy
from .rules import ALICE
from .waiting import PATIENCE

REPOSITORY = Path(__file__).resolve().parents[2]
PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|\S*)')
FIGURES = re.compile(r"(\S+)=(\d+)\+(\d+)\+(\d+)/(\S+)")
_SERIAL = itertools.count()

Line = dict[str, str]


class Figures(NamedTuple):
    """One limit as the log shows it: usage, reserved by others, asked for, the most allowed."""

    used: int
    reserved: int
    asked: int
    max: str


def command() -> list[str]:
    """Return how policyd is called; POLICYD_COMMAND names another one, say an installed one."""
    given = os.environ.get("POLICYD_COMMAND")
    return shlex.split(given) if given else [sys.executable, "-m", "policyd"]


class Daemon:
    """One daemon with its rule file and its state; may be started and stopped repeatedly."""

    def __init__(
        self, directory: Path, port: int, socket: Path | None = None, milter: Path | None = None
    ) -> None:
        self.port = port
        self.lines: list[Line] = []
        self.raw: list[str] = []
        self._state = directory / "state"
        self._rules = directory / "policy.yaml"
        self.admin = directory / "admin.sock"
        self._listen = [f"tcp:127.0.0.1:{port}"]
        if socket:
            self._listen.append(f"unix:{socket}:mode=0666")
        self._milter = ("--milter", f"unix:{milter}:mode=0666") if milter else ()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._news = threading.Condition()
        directory.mkdir()
        self._state.mkdir()

    def write_rules(self, text: str) -> None:
        self._rules.write_text(text, encoding="utf-8")

    def start(self) -> None:
        since = self.mark()
        self._launch()
        self.wait_for("started", since=since)

    def _launch(self) -> None:
        listen = [word for where in self._listen for word in ("--listen", where)]
        self._process = self._run(
            [
                *command(),
                *("serve", "--config", str(self._rules), *listen),
                *("--state", str(self._state), "--admin", str(self.admin)),
                *("--log-level", "debug"),
                *self._milter,
            ]
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()

    def _run(self, words: list[str], **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a greeting for people
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            **options,
        )

    def stop(self) -> int:
        """Stop as systemd does and return the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        return self._end(signal.SIGKILL)

    def close(self) -> None:
        """Leave no process behind, whatever state the test has left it in."""
        if self._process:
            self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Make the daemon hang: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def reload(self) -> None:
        self._signal(signal.SIGHUP)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kept(self) -> str:
        """Return what a daemon that dies now leaves behind, as people are shown it."""
        return self._told("state", "dump", "--state", str(self._state))

    def ledger(self, name: str) -> list[Any]:
        """Return the rows of a ledger that a daemon that dies now leaves behind."""
        lines = map(json.loads, self.kept().splitlines())
        return [line[name] for line in lines if name in line and "series" not in line]

    def keep_instead(self, text: str) -> None:
        """Put what *kept* might have returned in the place of what is kept; not while it runs."""
        dump = self._state.parent / "dump"
        dump.write_text(text, encoding="ascii")
        self._told("state", "restore", str(dump), "--state", str(self._state))

    def administer(self, *words: str) -> dict[str, Any]:
        """Give a command as administrators do; return the answer."""
        return json.loads(self._told(*words, "--json", "--socket", str(self.admin)))

    @staticmethod
    def _told(*words: str) -> str:
        done = subprocess.run(
            [*command(), *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        if done.returncode:
            message = f"policyd {' '.join(words)} failed: {done.stdout}{done.stderr}"
            raise RuntimeError(message)
        return done.stdout

    def _signal(self, number: signal.Signals) -> None:
        if not self._process or self._process.poll() is not None:
            raise RuntimeError("policyd is not running")
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> int:
        process, reader = self._process, self._reader
        if not process or not reader:
            raise RuntimeError("policyd was not started")
        if process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)  # one that hangs must wake up to end
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            reader.join()
        self._process = self._reader = None
        return code

    def _read(self, process: subprocess.Popen[str]) -> None:
        with process.stderr as log:
            for text in log:
                with self._news:
                    self.raw.append(text)
                    self.lines.append(parse(text))
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def mark(self) -> int:
        """Return a place in the log: events are looked for after it."""
        with self._news:
            return len(self.lines)

    def events(self, event: str, since: int = 0, **fields: str) -> list[Line]:
        """Return the lines so far that tell of *event* with these *fields*."""
        self._catch_up()
        with self._news:
            return list(self._matching({"event": event, **fields}, since))

    def _catch_up(self) -> None:
        """Wait until all that has been answered is in the log too, which is written later."""
        if self.is_running():
            here = f"here{next(_SERIAL)}@{policy.PROBES}"
            with policy.connect(self.port) as connection:
                policy.ask(connection, {"protocol_state": "VRFY", "recipient": here})
            self.wait_for("decided", recipient=here)

    def wait_for(
        self, event: str, since: int = 0, patience: float = PATIENCE, **fields: str
    ) -> Line:
        """Return the first line that tells of *event* with these *fields*, when it comes."""
        wanted = {"event": event, **fields}
        deadline = time.monotonic() + patience
        with self._news:
            while True:
                for line in self._matching(wanted, since):
                    return line
                left = deadline - time.monotonic()
                if left <= 0 or not self.is_running():
                    end = "" if self.is_running() else "; policyd has ended"
                    message = f"no line with {wanted}{end}; the log:\n{''.join(self.raw[-40:])}"
                    raise TimeoutError(message)
                self._news.wait(min(left, 0.2))

    def _matching(self, wanted: Line, since: int) -> Iterator[Line]:
        return (line for line in self.lines[since:] if wanted.items() <= line.items())

    def requests(self, since: int = 0) -> list[Line]:
        """Return a line for each request of Postfix that was answered so far."""
        return [
            line
            for line in self.events("decided", since)
            if not line["instance"].startswith(policy.PROBE)
            and not line["recipient"].endswith(f"@{policy.PROBES}")
        ]

    def stages(self) -> Counter[str]:
        """Return how many requests of each stage there have been."""
        return Counter(line["stage"] for line in self.requests())

    def refusals(self, since: int = 0) -> list[Line]:
        return self.events("refused", since)

    def figures(
        self, account: str = ALICE, *, sender: str = ALICE, recipient: str = "", size: int = 500
    ) -> dict[str, Figures]:
        """Send one further mail as *account* and return what each limit held before it.

        The mail is the daemon's alone, Postfix has no part in it. It is counted once it has passed.
        """
        recipient = recipient or f"someone{next(_SERIAL)}@{policy.PROBES}"
        since = self.mark()
        at_rcpt, at_end = (
            {**request, "sender": sender} for request in policy.one_mail(account, recipient, size)
        )
        instance = at_rcpt["instance"]
        with policy.connect(self.port) as connection:
            # as Postfix would, do not go on with a recipient that was refused
            passed = policy.ask(connection, at_rcpt) == "DUNNO"
            stage = "END-OF-MESSAGE" if passed else "RCPT"
            if passed:
                policy.ask(connection, at_end)
        line = self.wait_for("decided", since, stage=stage, instance=instance)
        return {
            name: Figures(int(used), int(reserved), int(asked), most)
            for name, used, reserved, asked, most in FIGURES.findall(line["limits"])
        }

    def usage(
        self, account: str = ALICE, *, sender: str = ALICE, size: int = 500
    ) -> dict[str, int]:
        """Return what each limit has counted; see figures()."""
        figures = self.figures(account, sender=sender, size=size)
        return {name: figure.used for name, figure in figures.items()}


def parse(text: str) -> Line:
    """Take a log line apart."""
    return {
        name: json.loads(value) if value.startswith('"') else value
        for name, value in PAIR.findall(text)
    }
