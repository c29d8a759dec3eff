"""A Postfix that shows its mail to a milter as well, and what that milter sees."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from .daemon import REPOSITORY
from .postfix import PrivatePostfix
from .snippets import at, entry, master_snippet, replace_once
from .waiting import PATIENCE, wait_until

PROGRAM = Path(__file__).with_name("milter_program.py")

LISTENERS = (
    *("content", "content_tcp", "both", "old", "chrooted", "hanging"),
    *("trimmed", "data_macros", "end_of_header_macros", "end_of_data_macros"),
)
"""Listeners of their own; what they are for is in MASTER, or below."""

PORTS = (*LISTENERS, "milter", "second")

MAIN = """
# as the administrator is told
milter_default_action = accept
smtpd_milters = unix:policyd/milter
# as the doctor writes it
policyd_milters = { unix:policyd/milter, connect_timeout=5s, command_timeout=5s,
    content_timeout=10s, default_action=accept }
"""

MASTER = """
127.0.0.1:{content} inet n - n - - smtpd -o local_header_rewrite_clients=
127.0.0.1:{content_tcp} inet n - n - - smtpd -o smtpd_milters=inet:127.0.0.1:{milter}
127.0.0.1:{both} inet n - n - - smtpd
    -o {{ smtpd_milters = unix:policyd/milter, inet:127.0.0.1:{second} }}
127.0.0.1:{old} inet n - n - - smtpd -o milter_protocol=2
127.0.0.1:{chrooted} inet n - y - - smtpd -o smtpd_milters=$policyd_milters
127.0.0.1:{hanging} inet n - n - - smtpd -o smtpd_end_of_data_restrictions=
    -o smtpd_recipient_restrictions=permit
    -o {{ smtpd_milters = {{ unix:policyd/milter, connect_timeout=1s, command_timeout=1s,
        content_timeout=1s, default_action=accept }} }}
"""

SHOWN = "    -o smtpd_milters=$policyd_milters\n"
"""What the snippet for master.cf has behind a comment sign."""

MACROS = ("mail", "rcpt", "data", "end_of_header", "end_of_data")
"""The events whose macros name the message, or who sends it."""


def add_milters(postfix: PrivatePostfix, ports: dict[str, int]) -> None:
    """Have *postfix*, which has not started yet, show its mail to the milter."""
    conf = postfix.configuration
    with (conf / "main.cf").open("a", encoding="utf-8") as file:
        file.write(MAIN)
    master = (conf / "master.cf").read_text(encoding="utf-8")
    pickup = "cleanup -o max_use=100"
    assert master.count(pickup) == 1
    master = master.replace(pickup, f"{pickup} -o non_smtpd_milters=unix:policyd/milter")
    master += MASTER.format(**ports)
    for name in ("trimmed", "data_macros", "end_of_header_macros", "end_of_data_macros"):
        empty = [f"milter_{event}_macros" for event in MACROS if name != f"{event}_macros"]
        options = "".join(f" -o {parameter}=" for parameter in empty)
        master += f"127.0.0.1:{ports[name]} inet n - n - - smtpd{options}\n"
    (conf / "master.cf").write_text(master, encoding="utf-8")


class Milter:
    """The program of milter_program.py; *lines* is what it has told."""

    def __init__(self, header: str, policy_port: int, *where: object) -> None:
        self._words = [header, str(policy_port), *map(str, where)]
        self.lines: list[dict[str, Any]] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        since = len(self.lines)
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *self._words],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()
        wait_until(lambda: self.told("started", since), "the milter starts")

    def kill(self) -> None:
        """End it without a word."""
        process, reader = self._process, self._reader
        if process is None or reader is None:
            return
        process.kill()
        process.wait(PATIENCE)
        reader.join(PATIENCE)
        self._process = self._reader = None

    def freeze(self) -> None:
        """Make it hang: it keeps its connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def _read(self, process: subprocess.Popen[str]) -> None:
        with process.stdout as told:
            self.lines.extend(json.loads(line) for line in told)

    def told(self, kind: str, since: int = 0) -> list[dict[str, Any]]:
        """Return the lines that tell of a *kind* of step."""
        return [line for line in self.lines[since:] if kind in line]

    def messages(self, number: int, since: int = 0) -> list[dict[str, Any]]:
        """Return what was told of so many messages, and of no more."""
        wait_until(lambda: len(self.told("message", since)) >= number, "messages are decided")
        told = self.told("message", since)
        assert len(told) == number
        return told

    def message(self, since: int = 0) -> dict[str, Any]:
        """Return what was told of the one message."""
        return self.messages(1, since)[0]

    def logged(self) -> str:
        return "\n".join(line["log"] for line in self.told("log"))

    def steps(self, since: int = 0) -> list[str]:
        """Return the steps as short words; those that repeat one another as one."""
        words = [
            f"policy {line['policy']}" if "policy" in line else line["milter"]
            for line in self.lines[since:]
            if "policy" in line or line.get("milter", "Macros") != "Macros"
        ]
        return [word for at, word in enumerate(words) if at == 0 or words[at - 1] != word]


def show_content(postfix: PrivatePostfix, ports: dict[str, int]) -> None:
    """Have *postfix*, which has not started yet, show content to policyd as the snippets say.

    The listener ``content`` shows it, and asks nobody else.
    """
    main = postfix.configuration / "main.cf"
    text = main.read_text(encoding="utf-8")
    main.write_text(replace_once(text, "\n#policyd_milters = ", "\npolicyd_milters = "))
    master = postfix.configuration / "master.cf"
    text = master.read_text(encoding="utf-8")
    assert text.count(f"#{SHOWN}") == 2
    text = text.replace(f"#{SHOWN}", SHOWN)
    alone = (
        "policyd_recipient_restrictions = permit_sasl_authenticated, reject",
        "policyd_end_of_data_restrictions =",
        "smtpd_milters = $policyd_milters",
    )
    submission = entry(master_snippet(), "submission")
    text += at(submission, "submission", ports["content"], *alone)
    master.write_text(text, encoding="utf-8")
