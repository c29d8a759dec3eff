"""How long the reactor is kept from answering, at many live keys: CPU time of its longest turns.

Everything that happens beside answering happens here as in the daemon, with the shipped rules and
everything in one process: journal, snapshots, the hot copy, tidying, reloads of the rules, garbage
collection. A heartbeat measures the CPU time of every turn of the reactor, so that what else the
machine does has no part in it.

    python bench/stalls.py [--accounts 1000000] [--seconds 90] [--json FILE]
"""

import argparse
import gc
import heapq
import itertools
import json
import sys
import tempfile
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor

from policyd.aup.engine import Engine
from policyd.aup.policy import Policy, State
from policyd.aup.transaction import Connection
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.config.load import load
from policyd.protocol.request import Request
from policyd.service import persistence
from policyd.service.application import TIDY_STEPS
from policyd.service.log_writer import LogWriter, Priority
from policyd.service.maillog import MailLog

reactor: Any = _reactor
RULES = Path(__file__).parents[1] / "etc/policyd/policy.yaml"
SERIAL = itertools.count()


def now() -> Instant:
    return Instant(WallTime(time.time()), MonotonicTime(time.monotonic()))


class Turns:
    """The CPU time of every turn, in seconds, and of what was done in it."""

    def __init__(self) -> None:
        self.longest: dict[str, float] = {}
        self.times: Tally[str] = Tally()
        self.counts: Tally[float] = Tally()
        self.worst: list[tuple[float, str]] = []
        self._done: list[str] = []
        self._since = 0.0
        self._collecting = 0.0

    def named(self, name: str, work: Callable[[], Any]) -> Callable[[], Any]:
        """Return *work* as a piece of work whose time is noted."""

        def measured() -> Any:
            begin = time.thread_time()
            try:
                return work()
            finally:
                self._note(name, time.thread_time() - begin)

        return measured

    def start(self) -> None:
        gc.callbacks.append(self._collected)
        self._since = time.thread_time()
        self._beat()

    def _beat(self) -> None:
        at = time.thread_time()
        self.counts[round(at - self._since, 5)] += 1
        if at - self._since > 1e-3:
            heapq.heappush(self.worst, (at - self._since, ", ".join(self._done)))
            if len(self.worst) > 10:
                heapq.heappop(self.worst)
        self._done.clear()
        self._since = at
        reactor.callLater(0, self._beat)

    def _note(self, name: str, seconds: float) -> None:
        self.longest[name] = max(seconds, self.longest.get(name, 0.0))
        self.times[name] += 1
        if seconds > 1e-3:
            self._done.append(f"{name} {seconds * 1e3:.1f}")

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            name = f"garbage collection, generation {info['generation']}"
            self._note(name, time.thread_time() - self._collecting)


def mail(engine: Engine, account: str, recipients: int, connection: Connection) -> None:
    """Send one message through the engine."""
    common = {
        "request": "smtpd_access_policy",
        "sasl_username": account,
        "sender": account,
        "client_address": "192.0.2.7",
        "instance": str(next(SERIAL)),
    }
    for number in range(recipients):
        to = {"protocol_state": "RCPT", "recipient": f"r{number}.{account}.ext@away.example"}
        engine.decide(Request(common | to), connection, now())
    end = {
        "protocol_state": "END-OF-MESSAGE",
        "recipient_count": str(recipients),
        "size": str(1000 + hash(account) % 5000),
        "queue_id": common["instance"],
    }
    engine.decide(Request(common | end), connection, now())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--rate", type=float, default=1000.0, help="messages a second")
    parser.add_argument("--json", type=Path, help="where the longest times are written to as well")
    args = parser.parse_args()
    policy = load(RULES).policy
    assert policy is not None
    with tempfile.TemporaryDirectory() as directory:
        policy = replace(policy, state=State(directory, 20))
        measure(policy, Path(directory), args)


def measure(policy: Policy, directory: Path, args: argparse.Namespace) -> None:
    reactor.seconds = time.monotonic
    log = MailLog(LogWriter(sys.stderr.fileno(), Priority.NOTICE, {}))
    state = persistence.Persistence(directory, log, now)
    engine = state.load(policy)
    turns = Turns()
    connection = Connection("127.0.0.1")
    preload(engine, args.accounts)
    for _ in range(3):
        engine.take(now())
    gc.collect()
    gc.freeze()

    def again(name: str, interval: float, work: Callable[[], Any]) -> None:
        measured = turns.named(name, work)

        def run() -> None:
            measured()
            reactor.callLater(interval, run)

        reactor.callLater(interval, run)

    sent = 0

    def send() -> None:
        nonlocal sent
        due = int((time.monotonic() - started) * args.rate)
        for _ in range(min(due - sent, 5)):
            mail(engine, f"user{sent * 7919 % (2 * args.accounts)}@mail.example", 3, connection)
            sent += 1
        reactor.callLater(0.001, mailing)

    mailing = turns.named("mail", send)

    tidying = False

    def tidy() -> None:
        nonlocal tidying
        tidying = engine.tidy(now(), TIDY_STEPS) >= TIDY_STEPS
        if tidying:
            reactor.callLater(0, turns.named("tidy", tidy))

    versions = itertools.cycle((replace(policy, limits=policy.limits[:-1]), policy))
    started = time.monotonic()
    turns.start()
    again("journal and snapshot", persistence.JOURNAL_EVERY, lambda: state.flush(engine))
    again("copy", 30.0, state.copy)
    again("tidy", 1.0, lambda: None if tidying else tidy())
    again("reload", 10.0, lambda: engine.obey(next(versions), now()))
    send()
    reactor.callLater(args.seconds, reactor.stop)
    reactor.run()
    report(turns, sent)
    if args.json:
        found = {"turns": turns.counts.total(), "worst": sorted(turns.worst, reverse=True)}
        args.json.write_text(json.dumps(found | {"longest": turns.longest}), encoding="ascii")


def preload(engine: Engine, accounts: int) -> None:
    connection = Connection("127.0.0.1")
    begin = time.process_time()
    for number in range(accounts):
        mail(engine, f"user{number}@mail.example", 1, connection)
        if number % 100_000 == 99_999:
            engine.take(now())
    print(f"{accounts} accounts in {time.process_time() - begin:.0f} s of CPU")


def report(turns: Turns, sent: int) -> None:
    total = turns.counts.total()
    print(f"{sent} messages, {total} turns; CPU of a turn in ms:")
    for part in (0.5, 0.999, 0.99999):
        left = total * part
        for seconds in sorted(turns.counts):
            left -= turns.counts[seconds]
            if left <= 0:
                print(f"  {part:.3%}: {seconds * 1e3:.2f}")
                break
    print("the longest:")
    for seconds, done in sorted(turns.worst, reverse=True):
        print(f"  {seconds * 1e3:.2f}: {done}")
    print("what was done, how often, and the longest time:")
    for name, seconds in sorted(turns.longest.items()):
        print(f"  {name}: {turns.times[name]} times, {seconds * 1e3:.2f}")


if __name__ == "__main__":
    main()
