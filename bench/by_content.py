"""What a mail costs that is decided by content: our CPU time, from the wire to the counts.

The policy requests are decided, the milter's packets are taken apart, the content is looked at, and
the message is counted, as in a daemon but without sockets. Only the ratios tell anything.

    PYTHONPATH=tests python -P bench/by_content.py [--messages 1000] [--size 10000]
"""

import argparse
import random
import time
from collections.abc import Sequence

from aup.building import DAY, START, limit, policy, request
from content.variants import Draw, mail
from protocol.packets import connect, envelope, macros, offer, packet, texts
from service.log_lines import Lines
from twisted.internet.address import UNIXAddress
from twisted.internet.testing import StringTransport

from policyd.aup.engine import Engine
from policyd.aup.event import Event
from policyd.aup.policy import Count, Likeness, LikenessBy
from policyd.aup.transaction import Connection
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.counting.distinct import Hasher
from policyd.service.log_writer import Priority
from policyd.service.maillog import MailLog
from policyd.service.shown_content import ShownContent

RULES = policy(
    limit("bulk", max=249),
    limit("batches", max=249, window=7 * DAY),
    limit("domain", "domain likeness", max=249),
    limit("repeat", "account likeness recipient", count=Count.MESSAGES, max=250),
    limit("burst", "account", count=Count.RECIPIENTS, max=10**6, window=600),
    limit("daily", "account", max=10**6),
)
BY_CONTENT = Likeness(LikenessBy.CONTENT)


def vocabulary() -> Sequence[str]:
    """Return words of no language, of the length of real ones."""
    dice = random.Random(7)  # noqa: S311 - no secret
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "en", "er")]
    return ["".join(dice.choices(syllables, k=dice.randint(1, 4))) for _ in range(20_000)]


def made(number: int, size: int, words: Sequence[str]) -> bytes:
    """Return a mail of about *size* bytes, whose form is that of its *number*."""
    draw = Draw(str(number), words)
    form = ("8bit", "quoted-printable", "base64", "html", "both")[number % 5]
    count = size // (20 if form == "both" else 9 if form == "base64" else 7)
    return mail([draw.words(60) for _ in range(count // 60)], draw, "News", form)


class Daemon:
    """What decides, without the reactor."""

    def __init__(self, *, shown: bool) -> None:
        rules = policy(*RULES.limits, likeness=BY_CONTENT) if shown else RULES
        self.engine = Engine(rules, Hasher(b"bench"))
        self._connection = Connection("mx")
        log = MailLog(Lines(Priority.NOTICE))  # type: ignore[arg-type]
        self._contents = ShownContent(self.engine, b"bench", log, self.now, self._happened)
        if shown:
            self._contents.begin()
        server = self._contents.service.buildProtocol(UNIXAddress(""))
        assert server is not None
        self._server = server
        self._wire = StringTransport(peerAddress=UNIXAddress(""))
        server.makeConnection(self._wire)
        server.dataReceived(offer() + connect())

    def now(self) -> Instant:
        return Instant(WallTime(START), MonotonicTime(1000.0))

    def _happened(self, _: Sequence[Event]) -> None:
        pass

    def asked(self, number: int, size: int) -> None:
        name = {"instance": f"{number}.1.1.0", "sasl_username": f"box{number % 100}"}
        to = f"r{number}@away.example"
        self.engine.decide(request("RCPT", to, **name), self._connection, self.now())
        end = {**name, "recipient_count": 1, "queue_id": f"Q{number}", "size": size}
        self.engine.decide(request("END-OF-MESSAGE", to, **end), self._connection, self.now())

    def told(self, data: bytes) -> None:
        self._wire.clear()
        self._server.dataReceived(data)


def packets(number: int, content: bytes) -> tuple[bytes, bytes]:
    """Return what Postfix tells of a message before its end, and then."""
    name = b"Q%d" % number
    header, _, body = content.partition(b"\r\n\r\n")
    fields = [line.split(b": ", 1) for line in header.split(b"\r\n") if b": " in line]
    told = [macros(b"L", b"i", name) + texts(b"L", *field) for field in fields]
    before = envelope(name, recipients=[b"<r%d@away.example>" % number])
    chunks = [body[at : at + 65535] for at in range(0, len(body), 65535)]
    return before + packet(b"T"), b"".join(
        [*told, *(packet(b"B", c) for c in chunks), packet(b"E")]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--size", type=int, default=10_000)
    args = parser.parse_args()
    words = vocabulary()
    mails = [made(number, args.size, words) for number in range(args.messages)]
    told = [packets(number, content) for number, content in enumerate(mails)]
    costs: dict[str, list[float]] = {"by size": [], "by content": []}
    for _ in range(3):
        for name, taken in costs.items():
            daemon = Daemon(shown=name == "by content")
            begun = time.process_time()
            for number, content in enumerate(mails):
                if name == "by content":
                    daemon.told(told[number][0])
                daemon.asked(number, len(content))
                if name == "by content":
                    daemon.told(told[number][1])
            taken.append((time.process_time() - begun) / len(mails))
            assert not len(daemon.engine.awaiting)
    average = sum(map(len, mails)) / len(mails)
    print(f"{len(mails)} messages of {average:.0f} bytes, two policy requests each")
    for name, taken in costs.items():
        ratio = min(taken) / min(costs["by size"])
        print(f"  {name:10} {min(taken) * 1e6:6.0f} us CPU a message, {ratio:.1f} of by size")


if __name__ == "__main__":
    main()
