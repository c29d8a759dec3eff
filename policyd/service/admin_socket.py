"""The admin socket: administrators' commands and the answers, as lines of JSON.

The daemon says first who it is. Then every line is a request, and has a line as its answer::

    {"policyd": "0.1.0", "protocol": 1}
    {"command": "incident", "id": "B7DFGH2"}
    {"ok": true, "incident": {"id": "B7DFGH2", "account": "alice@mail.example", ...}}
    {"command": "unsuspend", "subject": "bob@mail.example", "reason": "password changed"}
    {"ok": false, "error": {"code": "no-such", "message": "bob@mail.example is not suspended"}}

Who may connect is up to the permissions of the socket. What is no request is answered by an error,
and ends the connection. Requests are taken one at a time, and nothing more is read meanwhile; long
answers are made as fast as they are read. So one administrator costs the others, and mail, little.
"""

import json
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from policyd import __version__
from policyd.service.admin_request import (
    Answer,
    Code,
    Command,
    CommandError,
    Follow,
    error_line,
    parsed,
)
from policyd.service.alarm import Alarm
from policyd.service.maillog import MailLog

ADMINISTRATORS: Final = "policyd-admin"
"""The group that the socket is for, where there is such a group."""

PROTOCOL: Final = 1
LONGEST_REQUEST: Final = 65_536
"""Bytes."""
MOST_CONNECTIONS: Final = 50
IDLE: Final = 60.0
"""Seconds without a request, or without an answer being read."""

_CREDENTIALS: Final = struct.Struct("=iII")
"""struct ucred: process, user, group (unix(7))."""


@implementer(IPullProducer, IHalfCloseableProtocol)
class AdminServer(Protocol):
    """One administrator's connection; as a producer it makes an answer as fast as it is read."""

    factory: "AdminService"
    transport: Any  # a UNIX server's; Twisted has no one interface for what it can do

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # so far there is no end of a line in the buffer
        self._uid = -1
        self._is_busy = False
        self._is_closing = False
        self._answer: Iterator[bytes] = iter(())
        self._follow: Follow | None = None
        self._waits = False  # for something to follow

    def connectionMade(self) -> None:
        """Greet, unless there are too many already."""
        self._uid = peer_uid(self.transport.getHandle())
        self._idle = Alarm(self.factory.clock, self.transport.abortConnection)
        servers = self.factory.servers
        if len(servers) >= MOST_CONNECTIONS:
            message = f"there are {MOST_CONNECTIONS} connections already; try again"
            self.transport.write(error_line(Code.BUSY, message))
            self.close()
            return
        servers.add(self)
        greeting = {"policyd": __version__, "protocol": PROTOCOL}
        self.transport.write(f"{json.dumps(greeting)}\n".encode("ascii"))
        self._idle.within(IDLE)

    def dataReceived(self, data: bytes) -> None:
        """Take in *data*, and begin with the request that it completes."""
        if self._follow is not None:
            return  # who follows asks nothing more
        self._buffer += data
        self._next()

    def readConnectionLost(self) -> None:
        """End when what was asked is answered: the peer asks nothing more."""
        if self._follow is None:
            self.close()

    def writeConnectionLost(self) -> None:
        """Do nothing: the connection ends, which is told as well."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Let go of everything."""
        self._is_closing = True
        self._idle.off()
        self.factory.servers.discard(self)
        if self._follow is not None:
            self._follow.end()

    def close(self) -> None:
        """Take no more requests; end when the one under way, if any, is answered."""
        self._is_closing = True
        if self._follow is not None:
            self.transport.unregisterProducer()
        if self._follow is not None or not self._is_busy:
            self.transport.loseConnection()

    def resumeProducing(self) -> None:
        """Send the next part of the answer."""
        self._idle.off()
        self._idle.within(IDLE)
        try:
            part = next(self._answer, None)
            if part is None and self._follow is not None:
                part = self._follow.take()
        except Exception:  # noqa: BLE001 - the peer has half an answer: that is no use to it
            self.factory.log.task_failed("admin", Failure())  # type: ignore[no-untyped-call]
            self.transport.abortConnection()
            return
        if part:
            self.transport.write(part)
            return
        if self._follow is not None:
            self._waits = True
            self._idle.off()
            self.transport.resumeProducing()  # or it would not be noticed that nobody is there
            return
        self.transport.unregisterProducer()
        self._is_busy = False
        if self._is_closing:
            self.transport.loseConnection()
        else:
            self.transport.resumeProducing()
            # in a turn of its own: many requests at once are to hold up nobody
            self.factory.clock.callLater(0, self._next)

    def stopProducing(self) -> None:
        """Do nothing: the connection is gone."""

    def _next(self) -> None:
        """Begin with the next request, if it is there and none is under way."""
        if self._is_busy or self._is_closing:
            return
        end = self._buffer.find(b"\n", self._searched)
        self._searched = len(self._buffer)
        length = self._searched if end < 0 else end
        if length > LONGEST_REQUEST:
            self._end(f"a request has at most {LONGEST_REQUEST} bytes")
        elif end >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            self._begin(line)

    def _begin(self, line: bytes) -> None:
        try:
            fields = parsed(line)
        except CommandError as error:
            self._end(str(error))
            return
        self._is_busy = True
        self._idle.off()
        self.transport.pauseProducing()
        done = maybeDeferred(self.factory.run, fields, self._uid).addCallback(self._encoded)
        done.addErrback(self._failed).addCallback(self._send)

    def _encoded(self, answer: Answer) -> Iterator[bytes]:
        self._follow = answer.follow
        return answer.encoded()

    def _send(self, answer: Iterator[bytes]) -> None:
        self._answer = answer
        if self in self.factory.servers:  # and not gone meanwhile
            if self._follow is not None:
                self._follow.begin(self._wake)
            self.transport.registerProducer(self, False)

    def _wake(self) -> None:
        """Send on what has come to be; let go of a reader who is too slow for it."""
        if self._follow is not None and self._follow.is_lost:
            self.transport.abortConnection()
        elif self._waits:
            self._waits = False
            self.factory.clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        if not self._waits and self in self.factory.servers:
            self.resumeProducing()

    def _failed(self, failure: Failure) -> Iterator[bytes]:
        error = failure.value
        if isinstance(error, CommandError):
            return iter((error_line(error.code, str(error)),))
        self.factory.log.task_failed("admin", failure)
        return iter((error_line(Code.FAULT, "policyd has a fault; its log says more"),))

    def _end(self, message: str) -> None:
        self.transport.write(error_line(Code.USAGE, message))
        self.close()


class AdminService(ServerFactory):
    """All connections of administrators, who give *commands*; *clock* is a reactor's."""

    protocol = AdminServer  # type: ignore[assignment]
    noisy = False

    def __init__(self, commands: Mapping[str, Command], log: MailLog, clock: IReactorTime) -> None:
        self.log = log
        self.clock = clock
        self.servers: set[AdminServer] = set()
        self._commands = commands

    def run(self, fields: Mapping[str, Any], uid: int) -> Deferred[Answer]:
        """Return the answer to *fields*, which the user *uid* asks; raise CommandError for none."""
        name = fields["command"]
        if (command := self._commands.get(name)) is None:
            raise CommandError(Code.UNKNOWN_COMMAND, f"there is no command {name[:50]!r}")
        result = command.run(command.request(fields, uid))
        return succeed(result) if isinstance(result, Answer) else Deferred.fromCoroutine(result)

    def close(self) -> None:
        """Take no more requests."""
        for server in tuple(self.servers):
            server.close()


def peer_uid(connection: socket.socket) -> int:
    """Return the user who is at the other end of the UNIX socket *connection*."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(data)
    return int(uid)
