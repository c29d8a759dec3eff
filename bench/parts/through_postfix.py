"""Messages a second through a real Postfix that asks the daemon, the responder in C, or nobody.

Postfix's own smtp-source sends them, to three recipients each, and Postfix throws them away once it
has them. Nobody logs in there, so the accounts are the clients' ports: a new one for each message,
without a domain, as one domain of them all would soon be beyond what a domain may send.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from e2e.postfix import PrivatePostfix
from e2e.postfix_conf import PORTS
from e2e.programs import find

from bench import measure, rules
from bench.context import Bench, Figures
from bench.measure import Sample
from bench.subjects import Subject, core, free_ports, seconds_of

NEEDS = ("postfix", "smtp-source", "openssl")
SESSIONS = 20
RECIPIENTS = 3
ROUNDS = 10
DISCARD = """
discard    unix       - - n -     -   discard
"""


def run(bench: Bench) -> Figures:
    """Return the samples, by who is asked."""
    missing = [name for name in NEEDS if not find(name)]
    if missing:
        print(f"  without a real Postfix: no {', '.join(missing)}; see tests/provision")
        return {}
    policy = rules.shipped()
    policy["accounts"] = {"identity": ["client_port"]}
    ours, least = bench.make.policyd(policy, "behind-postfix"), bench.make.responder()
    asked: dict[str, Subject | None] = {"policyd": ours, "responder": least, "nobody": None}
    with bench.make.running(ours, least), _postfix(asked) as postfix:
        for name in asked:  # processes are started, and what is looked up once
            _sent(bench, postfix, name, None, -1)
        takers = {name: partial(_sent, bench, postfix, name, of) for name, of in asked.items()}
        rounds = ROUNDS if bench.scale.rounds > 3 else bench.scale.rounds
        return measure.in_turns(rounds, takers)


@contextmanager
def _postfix(asked: dict[str, Subject | None]) -> Iterator[PrivatePostfix]:
    """Run a private Postfix with a listener for each of *asked*."""
    names = [*PORTS, *(f"bench {name}" for name in asked)]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    directory = Path(tempfile.mkdtemp(prefix="policyd-bench-postfix-"))
    directory.chmod(0o755)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        postfix = PrivatePostfix(directory, ports)
        undo.callback(postfix.stop)
        with (postfix.configuration / "main.cf").open("a", encoding="utf-8") as main:
            main.write("\ndefault_transport = discard:\n")
        with (postfix.configuration / "master.cf").open("a", encoding="utf-8") as master:
            master.write(DISCARD)
            for name, subject in asked.items():
                master.write(_listener(ports[f"bench {name}"], subject))
        postfix.start()
        yield postfix


def _listener(port: int, subject: Subject | None) -> str:
    options = ["max_use = 1000"]
    if subject:
        options.append(f"policyd_service = inet:127.0.0.1:{subject.port}")
    else:
        options.append("smtpd_recipient_restrictions = permit_mynetworks, reject")
        options.append("smtpd_end_of_data_restrictions =")
    words = "".join(f" -o {{ {option} }}" for option in options)
    return f"127.0.0.1:{port} inet n - n - {SESSIONS + 10} smtpd{words}\n"


def _sent(
    bench: Bench, postfix: PrivatePostfix, name: str, subject: Subject | None, number: int
) -> Sample:
    """Send a sample's messages and wait until Postfix is done with them."""
    messages = bench.scale.messages
    words: list[Any] = [*core(-1), find("smtp-source"), "-N", "-s", SESSIONS, "-m", messages]
    words += ["-r", RECIPIENTS, "-l", 4000, "-f", "someone@mail.example"]
    words += ["-t", f"r{number}x@elsewhere.example", f"127.0.0.1:{postfix.ports[f'bench {name}']}"]
    before = seconds_of(subject.pids()) if subject else 0.0
    begun = time.perf_counter()
    subprocess.run([str(word) for word in words], check=True, timeout=600)  # noqa: S603
    took = time.perf_counter() - begun
    time.sleep(measure.GRACE)
    spent = seconds_of(subject.pids()) - before if subject else 0.0
    postfix.drain()
    return {
        "messages": messages,
        "seconds": took,
        "per_second": messages / took,
        "cpu_us": spent / messages * 1e6,
    }
