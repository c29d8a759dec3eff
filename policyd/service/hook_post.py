"""A web address that is told something: one HTTP POST, in a thread of its own.

This is the standard library's client. Twisted's would do without a thread, but its TLS makes code
at run time, which the unit's MemoryDenyWriteExecute forbids, and it is no part of Twisted itself.
"""

import socket
from base64 import b64encode
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Thread
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

from twisted.internet.defer import Deferred

from policyd import __version__

_MOST_READ: Final = 65536
"""Bytes of an answer's body, in which nobody is interested, that a server gets rid of."""


def shown(url: str) -> str:
    """Return *url* for a log: without the parts that are often secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Post:
    """Posts *data*, which is JSON, to *url*; nothing in it may take longer than *timeout*.

    *ended* fires with what went wrong, with "" for an answer of 2xx; redirects are not followed.
    """

    def __init__(self, reactor: Any, url: str, data: bytes, timeout: float) -> None:
        self.ended: Deferred[str] = Deferred()
        self._reactor = reactor
        self._url = urlsplit(url)
        self._data = data
        self._is_ended = False
        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        self._connection = kind(self._url.hostname or "", self._url.port, timeout=timeout)

    def begin(self) -> "Post":
        """Connect; raise RuntimeError if there cannot be another thread."""
        Thread(target=self._run, name="hook", daemon=True).start()
        return self

    def end(self, grace: float) -> None:  # noqa: ARG002
        """Close the connection, at which the thread comes to its end."""
        self._is_ended = True
        if (connected := self._connection.sock) is not None:
            with suppress(OSError):
                # not TLS's way, in which the thread may be busy
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            why = self._talk()
        except Exception as error:  # noqa: BLE001 - told to the reactor's thread
            why = f"{type(error).__name__}: {error}"
            if self._is_ended:
                why = "there was no answer"
        self._connection.close()
        self._reactor.callFromThread(self.ended.callback, why)

    def _talk(self) -> str:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"policyd/{__version__}",
            "Connection": "close",
        }
        login, _, _ = self._url.netloc.rpartition("@")
        if login:
            headers["Authorization"] = f"Basic {b64encode(unquote_to_bytes(login)).decode()}"
        target = urlunsplit(("", "", self._url.path or "/", self._url.query, ""))
        self._connection.connect()
        if self._is_ended:
            raise TimeoutError
        self._connection.request("POST", target, self._data, headers)
        answer = self._connection.getresponse()
        with suppress(OSError, HTTPException):  # it has said all that counts
            answer.read(_MOST_READ)
        if 200 <= answer.status < 300:
            return ""
        return f"the answer was {answer.status} {answer.reason}".rstrip()
