"""HTTP for Prometheus and whatever watches over the daemon: ``/metrics`` and ``/healthz``.

A request is a GET or HEAD without a body and gets one answer, after which the connection ends.
That is all of HTTP that a scrape needs; importing Twisted's own server would make the start of the
daemon a tenth slower.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from policyd.service.alarm import Alarm
from policyd.service.exposition import CONTENT_TYPE
from policyd.service.maillog import MailLog
from policyd.service.metrics import Metrics

LONGEST_REQUEST: Final = 8192
"""Bytes, headers included."""

MOST_CONNECTIONS: Final = 20
PATIENCE: Final = 10.0
"""Seconds from the connection to the end of the answer."""

_REASONS: Final[Mapping[int, str]] = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"

Answer = tuple[int, str, bytes]
"""A status, the type of the body, the body."""


class MetricsServer(Protocol):
    """One connection."""

    factory: "MetricsService"
    transport: Any  # TCP's or UNIX's; Twisted has no one interface for what both can do

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_answered = False

    def connectionMade(self) -> None:
        """Wait for a request, unless there are too many already."""
        factory = self.factory
        self._alarm = Alarm(factory.clock, self.transport.abortConnection)
        self._alarm.within(PATIENCE)
        factory.servers.add(self)
        if len(factory.servers) > MOST_CONNECTIONS:
            self._answer(_said(503, f"there are {MOST_CONNECTIONS} connections already"))

    def dataReceived(self, data: bytes) -> None:
        """Answer the request, if *data* completes it."""
        if self._is_answered:
            return
        self._buffer += data
        lines = self._buffer.replace(b"\r\n", b"\n")
        end = lines.find(b"\n\n")
        if len(self._buffer) > LONGEST_REQUEST:
            self._answer(_said(431, f"a request has at most {LONGEST_REQUEST} bytes"))
        elif end >= 0:
            self._take(bytes(lines[:end]))

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Let go of everything."""
        self._alarm.off()
        self.factory.servers.discard(self)

    def _take(self, head: bytes) -> None:
        """Answer the request that *head* is."""
        words = head.partition(b"\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._answer(_said(400, "this is no request of HTTP/1"))
            return
        method, path, _ = words
        if method in ("GET", "HEAD"):
            self._answer(self.factory.answer(path.partition("?")[0]), head=method == "HEAD")
        else:
            self._answer(_said(405, "only GET and HEAD"))

    def _answer(self, answer: Answer, *, head: bool = False) -> None:
        self._is_answered = True
        status, kind, body = answer
        fields = [
            f"HTTP/1.1 {status} {_REASONS[status]}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            *(["Allow: GET, HEAD"] if status == 405 else []),
            "Connection: close",
        ]
        start = "".join(f"{field}\r\n" for field in fields).encode("ascii")
        self.transport.write(start + b"\r\n" + (b"" if head else body))
        self.transport.loseConnection()


class MetricsService(ServerFactory):
    """All connections of those who read the *metrics*; *clock* is a reactor's."""

    protocol = MetricsServer  # type: ignore[assignment]
    noisy = False

    def __init__(self, metrics: Metrics, log: MailLog, clock: IReactorTime) -> None:
        self.clock = clock
        self.servers: set[MetricsServer] = set()
        self._log = log
        self._paths: Mapping[str, Callable[[], Answer]] = {
            "/metrics": lambda: (200, CONTENT_TYPE, metrics.text()),
            "/healthz": lambda: _health(metrics),
        }

    def answer(self, path: str) -> Answer:
        """Return what there is at *path*; our own faults end here."""
        if (page := self._paths.get(path)) is None:
            return _said(404, "there are /metrics and /healthz")
        try:
            return page()
        except Exception:  # noqa: BLE001 - whatever it is, mail goes on
            self._log.task_failed("metrics", Failure())  # type: ignore[no-untyped-call]
            return _said(500, "policyd has a fault; its log says more")


def _health(metrics: Metrics) -> Answer:
    health = metrics.health()
    return 200 if health.well else 503, _JSON, f"{json.dumps(health.said)}\n".encode("ascii")


def _said(status: int, words: str) -> Answer:
    return status, _TEXT, f"{words}\n".encode("ascii")
