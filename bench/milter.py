"""What it costs that content is shown: our CPU time, and what a client waits for.

First the CPU time of the codec and the session for one message, as a Postfix tells it. Then, with
a private Postfix (root, and the packages of tests/provision): how long one message takes without a
milter, with ours, with one that wants no silence at all, and each over TCP. The kinds take turns,
so that what else the machine does is shared by all; only the ratios tell anything.

    python bench/milter.py [--messages 300] [--size 10000]
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from e2e.ports import free_ports  # noqa: E402
from e2e.postfix import PrivatePostfix  # noqa: E402
from e2e.postfix_conf import PORTS  # noqa: E402
from e2e.sink import Sink  # noqa: E402
from e2e.smtp import Session, message  # noqa: E402
from protocol.packets import ABORT, connect, macros, offer, packet, texts  # noqa: E402
from twisted.internet import reactor as _reactor  # noqa: E402

from policyd.protocol import milter_session  # noqa: E402
from policyd.protocol.milter import MilterParser  # noqa: E402
from policyd.protocol.milter_reply import Answer  # noqa: E402
from policyd.protocol.milter_session import MilterMessage, MilterSession  # noqa: E402
from policyd.service.addresses import parse_listen  # noqa: E402
from policyd.service.listeners import listen  # noqa: E402
from policyd.service.log_writer import LogWriter, Priority  # noqa: E402
from policyd.service.maillog import MailLog  # noqa: E402
from policyd.service.milter_server import MilterService  # noqa: E402

reactor: Any = _reactor
HEADERS = 12
KINDS = ("none", "ours", "each", "ours-tcp", "each-tcp")
SENDER, RECIPIENT = "alice@sender.example", "a@ext.example"


class Nothing:
    """A sink that lets everything go."""

    def header(self, name: bytes, value: bytes) -> None:
        pass

    def body(self, data: bytes) -> None:
        pass


def passed(_: MilterMessage[Nothing]) -> Answer:
    return Answer()


# our own CPU time


def told(size: int) -> bytes:
    """Return what Postfix tells of one message."""
    login = (b"{auth_type}", b"PLAIN", b"{auth_authen}", b"alice")
    named = (b"i", b"4E88A20E634")
    header = macros(b"L", *named) + texts(b"L", b"X-Header", b"v" * 60)
    return b"".join(
        [
            macros(b"M", *login, b"{mail_addr}", b"alice@sender.example"),
            texts(b"M", b"<alice@sender.example>"),
            macros(b"R", *named, b"{rcpt_addr}", b"a@ext.example"),
            texts(b"R", b"<a@ext.example>"),
            macros(b"T", *named),
            header * HEADERS,
            macros(b"B", *named) + packet(b"B", b"x" * (size - HEADERS * 70)),
            macros(b"E", *named) + packet(b"E") + ABORT,
        ]
    )


def own_time(size: int, messages: int = 2000) -> Iterator[float]:
    """Yield the seconds a message, of several runs."""
    data = told(size)
    for _ in range(7):
        parser, session = MilterParser(), MilterSession(Nothing, passed)
        for event in parser.feed(offer() + connect()):
            session.take(event)
        begun = time.process_time()
        for _ in range(messages):
            b"".join([session.take(event) for event in parser.feed(data)])
        yield (time.process_time() - begun) / messages


# what a client waits for


def serve(kind: str, *where: str) -> None:
    if kind == "each":
        # what is not wanted is still not told
        milter_session._STEPS = int(milter_session._NOT_WANTED)  # type: ignore[misc]  # noqa: SLF001
    log = MailLog(LogWriter(sys.stderr.fileno(), Priority.NOTICE, {}))
    service = MilterService(Nothing, passed, log)
    for address in where:
        listen(reactor, parse_listen(address), service)
    reactor.callWhenRunning(print, "ready", flush=True)
    reactor.run()


def waited(session: Session, content: bytes) -> float:
    begun = time.perf_counter()
    mailing = session.send(SENDER, [RECIPIENT], content)
    assert mailing.passed
    return time.perf_counter() - begun


def started(kind: str, *where: str) -> "subprocess.Popen[str]":
    words = [sys.executable, __file__, "--serve", kind, *where]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout is not None
    process.stdout.readline()
    return process


def through_postfix(messages: int, size: int) -> dict[str, list[float]]:
    ports = dict(zip((*PORTS, *KINDS), free_ports(len(PORTS) + len(KINDS)), strict=True))
    ours_tcp, each_tcp = free_ports(2)
    directory = Path(tempfile.mkdtemp(prefix="policyd-bench-"))
    directory.chmod(0o755)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        undo.callback(Sink(ports["sink"]).close)
        postfix = PrivatePostfix(directory, ports)
        sockets = {kind: postfix.policy_socket.with_name(kind) for kind in ("ours", "each")}
        milters = {
            "none": "",
            "ours": "unix:policyd/ours",
            "each": "unix:policyd/each",
            "ours-tcp": f"inet:127.0.0.1:{ours_tcp}",
            "each-tcp": f"inet:127.0.0.1:{each_tcp}",
        }
        with (postfix.configuration / "main.cf").open("a", encoding="utf-8") as main:
            main.write("smtpd_recipient_restrictions = permit\nsmtpd_end_of_data_restrictions =\n")
        with (postfix.configuration / "master.cf").open("a", encoding="utf-8") as master:
            for kind, milter in milters.items():
                option = f"-o smtpd_milters={milter}"
                master.write(f"127.0.0.1:{ports[kind]} inet n - n - - smtpd {option}\n")
        for kind, port in (("ours", ours_tcp), ("each", each_tcp)):
            where = (f"unix:{sockets[kind]}:mode=0666", f"tcp:127.0.0.1:{port}")
            process = started(kind, *where)
            undo.callback(process.wait)
            undo.callback(process.kill)
        undo.callback(postfix.stop)
        postfix.start()
        sessions = {kind: Session(ports[kind]) for kind in KINDS}
        undo.callback(lambda: [session.close() for session in sessions.values()])
        times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        content = message(size)
        for _ in range(messages):
            for kind, session in sessions.items():
                times[kind].append(waited(session, content))
    return times


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(*args.serve)
        return
    octets = len(told(args.size))
    print(
        f"codec and session: {min(own_time(args.size)) * 1e6:.0f} us CPU a message of "
        f"{args.size} bytes ({octets} on the wire)"
    )
    times = through_postfix(args.messages, args.size)
    usual = statistics.median(times["none"])
    for kind, some in times.items():
        half = statistics.median(some)
        print(f"{kind:9} median {half * 1e3:6.2f} ms a message, {half / usual:.2f} of none")


if __name__ == "__main__":
    main()
