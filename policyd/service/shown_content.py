"""Content that a milter is shown, on its way to the engine, and the engine's answers back."""

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from time import perf_counter

from twisted.python.failure import Failure

from policyd.aup.deciding_content import Shown
from policyd.aup.engine import Engine
from policyd.aup.event import Event
from policyd.clock import Instant
from policyd.content.charset import prepare
from policyd.content.fingerprint import Fingerprint, Kind
from policyd.content.reader import Boilerplate, Reader
from policyd.content.sketch import Sketcher
from policyd.protocol.milter_reply import Answer
from policyd.protocol.milter_session import MilterMessage
from policyd.protocol.reply import PASS, Verdict
from policyd.service.maillog import MailLog
from policyd.service.milter_server import MilterService


class Content:
    """Puts a message together again, for a *reader*."""

    __slots__ = ("_in_header", "_reader")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._in_header = True

    def header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._reader.feed(b"%b: %b\n" % (name, value))

    def body(self, data: bytes) -> None:
        """Take the next piece of the body."""
        if self._in_header:
            self._in_header = False
            self._reader.feed(b"\n")
        self._reader.feed(data)

    def fingerprint(self) -> Fingerprint:
        """Return what the message is like."""
        return self._reader.done()


class ContentFigures:
    """How many messages were shown, by *kinds* of fingerprints, and how they were answered.

    *unreadable* are those that met a fault of ours, *nameless* those without a queue id, which
    nobody can tell from one that was decided already. *seconds* is what looking at all took.
    """

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter({kind.value: 0 for kind in Kind})
        self.answers: Counter[str] = Counter({"DUNNO": 0})
        self.unreadable = 0
        self.nameless = 0
        self.seconds = 0.0

    @property
    def messages(self) -> int:
        """How many messages were shown."""
        return sum(self.kinds.values())


class ShownContent:
    """Lets *engine* decide what the connections of its *service* are shown.

    The hashes are keyed by what is made of *secret*. What happens is told to *happened*, which must
    not raise.
    """

    def __init__(
        self,
        engine: Engine,
        secret: bytes,
        log: MailLog,
        now: Callable[[], Instant],
        happened: Callable[[Sequence[Event]], None],
    ) -> None:
        self.figures = ContentFigures()
        waiting = engine.awaiting
        self.service = MilterService(self._content, self._decide, log, waiting.expect, waiting.drop)
        self._engine = engine
        self._log = log
        self._now = now
        self._happened = happened
        key = blake2b(digest_size=32, key=secret, person=b"policyd content").digest()
        self._sketcher = Sketcher(key)
        self._text = ""
        self._boilerplate = Boilerplate(self._sketcher)

    def begin(self) -> None:
        """Get ready to be shown content; until then nothing is remembered for it."""
        prepare()
        self._engine.awaiting.watches = True

    @property
    def faults(self) -> int:
        """How many faults of ours there were; the mail was answered all the same."""
        return self.figures.unreadable + self.service.faults

    def _content(self) -> Content:
        text = self._engine.policy.likeness.boilerplate
        if text != self._text:
            self._text = text
            self._boilerplate = Boilerplate(self._sketcher, [text])
        return Content(Reader(self._sketcher, self._boilerplate))

    def _decide(self, message: MilterMessage[Content]) -> Answer:
        begun = perf_counter()
        fingerprint = self._fingerprint(message)
        self.figures.kinds[fingerprint.kind.value] += 1
        verdict = self._verdict(message, fingerprint)
        self.figures.answers[verdict.verb] += 1
        self.figures.seconds += perf_counter() - begun
        return Answer(verdict)

    def _fingerprint(self, message: MilterMessage[Content]) -> Fingerprint:
        """Return what *message* is like; one that meets a fault of ours is counted all the same."""
        try:
            return message.content.fingerprint()
        except Exception:  # noqa: BLE001 - whoever finds one could send what he wants
            self.figures.unreadable += 1
            self._log.task_failed(f"content {message.queue_id}".rstrip(), Failure())  # type: ignore[no-untyped-call]
            return Fingerprint(Kind.UNKNOWN)

    def _verdict(self, message: MilterMessage[Content], fingerprint: Fingerprint) -> Verdict:
        if not message.queue_id:
            self.figures.nameless += 1
            return PASS
        shown = Shown(message.queue_id, _attributes(message), _recipients(message), fingerprint)
        verdict, events = self._engine.show(shown, self._now())
        if events:
            self._happened(events)
        # a milter may say more than one line, and what is on lines of its own is read
        return verdict._replace(text=verdict.text.replace("; ", "\n"))


def _attributes(message: MilterMessage[Content]) -> dict[str, str]:
    """Return what a policy request would say of *message*."""
    recipients = _recipients(message)
    return {
        "client_address": message.client_address,
        "sasl_method": message.sasl_method,
        "sasl_username": message.sasl_username,
        "sender": message.sender,
        "recipient": recipients[0] if len(recipients) == 1 else "",
        "recipient_count": str(message.recipient_count),
        "size": str(message.size),
        "queue_id": message.queue_id,
    }


def _recipients(message: MilterMessage[Content]) -> Sequence[str]:
    """Return the addresses as a policy request has them: without a route."""
    return [one.rpartition(":")[2] if one.startswith("@") else one for one in message.recipients]
