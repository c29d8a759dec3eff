"""Messages a second through a real Postfix that asks the daemon, the responder in C, or nobody.

Postfix's own smtp-source sends them, to three recipients each, and Postfix throws them away once it
has them. Nobody logs in there, so the accounts are the clients' ports: a new one for each message,
without a domain, as one domain of them all would soon be beyond what a domain may send.

The rounds are many and short, and ratios are taken within each: other work on the machine comes
and goes, and a few long samples would have it in the one and not in the other. Each sample begins
when Postfix is done with the one before. What Postfix itself does is kept small and even: its queue
is in memory where that can be, and its processes serve more than one message each.
"""

import os
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
from bench.subjects import Subject, core, free_ports, pids, seconds_of

NEEDS = ("postfix", "smtp-source", "openssl")
SESSIONS = 20
RECIPIENTS = 3
ROUNDS = 60
AT_MOST = 330.0
"""Seconds after which there is no further round."""
MEMORY = Path("/dev/shm")  # noqa: S108
QUIET = """
default_transport = discard:
# Postfix's own figure: with the tests' 1 every delivery starts a process, which takes most CPU
max_use = 100
"""
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
    services = {
        "policyd": bench.make.policyd(policy, "behind-postfix"),
        **bench.not_compiled(policy),
        "responder": bench.make.responder(),
    }
    asked: dict[str, Subject | None] = {**services, "nobody": None}
    with bench.make.running(*services.values()), _postfix(asked) as postfix:
        for name in asked:  # processes are started, and what is looked up once
            _sent(bench, postfix, name, None, -1)
        takers = {name: partial(_sent, bench, postfix, name, of) for name, of in asked.items()}
        rounds = ROUNDS if bench.scale.rounds > 3 else bench.scale.rounds
        return measure.in_turns(rounds, takers, AT_MOST)


@contextmanager
def _postfix(asked: dict[str, Subject | None]) -> Iterator[PrivatePostfix]:
    """Run a private Postfix with a listener for each of *asked*."""
    names = [*PORTS, *(f"bench {name}" for name in asked)]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="policyd-bench-postfix-", dir=memory))
    directory.chmod(0o755)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        postfix = PrivatePostfix(directory, ports)
        undo.callback(postfix.stop)
        with (postfix.configuration / "main.cf").open("a", encoding="utf-8") as main:
            main.write(QUIET)
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
    before, before_postfix = _spent(subject, postfix)
    begun = time.perf_counter()
    subprocess.run([str(word) for word in words], check=True, timeout=600)  # noqa: S603
    took = time.perf_counter() - begun
    postfix.drain()
    if subject:
        time.sleep(measure.GRACE)
    own, of_postfix = _spent(subject, postfix)
    return {
        "messages": messages,
        "seconds": took,
        "per_second": messages / took,
        "cpu_us": (own - before) / messages * 1e6,
        "with_postfix_us": (own - before + of_postfix - before_postfix) / messages * 1e6,
    }


def _spent(subject: Subject | None, postfix: PrivatePostfix) -> tuple[float, float]:
    """Return the CPU seconds of *subject* and of all processes of Postfix, up to now."""
    master = int((postfix.queue / "pid" / "master.pid").read_text(encoding="ascii"))
    return seconds_of(subject.pids()) if subject else 0.0, seconds_of(pids(master))
