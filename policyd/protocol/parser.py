r"""Requests out of bytes: the receiving half of Postfix's policy delegation protocol.

The rules (CONTRACT.md A1):

- A request is lines of ``name=value``, each ended by one newline, and an empty line.
- Only ``\n`` ends a line. Values hold anything else, ``=`` and Unicode line separators included;
  a reader that splits at those lets a sender forge attributes.
- The first ``=`` ends the name. Of an attribute given twice the first counts.
- Bytes that are not UTF-8 survive (surrogateescape).
- A request has its caps: beyond them, or with a line that is no attribute, the peer is not
  Postfix and the connection is closed.

The plan: a pure object is fed chunks of any size and gives the requests that they complete. What
has been searched for the empty line is not searched again, so the time is linear in the bytes,
however they arrive.

A Postfix names the same attributes in the same order all the time, and sends a request in one go.
So a pattern is made of the names of the first request; what comes later is held against it, which
takes a quarter of the time and looks at every byte all the same. Only what differs is taken apart.
"""

import re
from functools import lru_cache
from typing import Final

from policyd.protocol.request import Request

MAX_REQUEST: Final = 64 * 1024
"""Bytes of one request, its empty line included; likewise a line and its newline."""

MAX_LINE: Final = 16 * 1024
MAX_ATTRIBUTES: Final = 100

_MOST_LAYOUTS: Final = 4
"""Of one connection: a pattern takes long to make, some 5 ms."""

_NAME: Final = re.compile("[a-z][a-z_]*")


class RequestParser:
    """Turn the bytes of one connection into requests.

    *error* is None until the peer breaks the protocol; then it says how, nothing further is
    parsed, and the connection is to be closed.
    """

    __slots__ = ("_buffer", "_layout", "_layouts", "_line_start", "_searched", "error")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._layout: re.Pattern[str] | None = None  # of the last request that was taken apart
        self._layouts = 0
        self._searched = 0  # no empty line begins before this offset
        self._line_start = 0  # of the unfinished line, as far as it was searched
        self.error: str | None = None

    def feed(self, data: bytes) -> list[Request]:
        """Take the next *data* and return the requests that it completes, in order."""
        if self._layout is not None and not self._buffer and len(data) < MAX_LINE:
            found = self._layout.fullmatch(data.decode("utf-8", "surrogateescape"))
            if found is not None:
                return [Request(found)]
        requests: list[Request] = []
        if self.error is not None:
            return requests
        buffer = self._buffer
        buffer += data
        start = 0
        while start < len(buffer) and (end := self._end_of_request(start)) >= 0:
            if not self._parse(buffer[start:end], requests):
                return requests
            start = self._searched = self._line_start = end + 1
        if start:
            del buffer[:start]
            self._searched -= start
            self._line_start -= start
        if len(buffer) >= MAX_REQUEST:
            self._fail(f"a request of more than {MAX_REQUEST} bytes")
        elif len(buffer) - self._line_start >= MAX_LINE:
            self._fail(f"a line of more than {MAX_LINE} bytes")
        return requests

    def _end_of_request(self, start: int) -> int:
        """Return the offset of the newline that is the empty line, or -1."""
        buffer = self._buffer
        if buffer.startswith(b"\n", start):
            return start
        found = buffer.find(b"\n\n", self._searched)
        if found >= 0:
            return found + 1
        newline = buffer.rfind(b"\n", self._searched)
        if newline >= 0:
            self._line_start = newline + 1
        # the last byte may be the newline before an empty line
        self._searched = max(start, len(buffer) - 1)
        return -1

    def _parse(self, raw: bytearray, requests: list[Request]) -> bool:
        """Append the request in *raw*, its lines without the empty one; False on an error."""
        if len(raw) >= MAX_REQUEST:
            return self._fail(f"a request of more than {MAX_REQUEST} bytes")
        if not raw:
            return self._fail("a request without attributes")
        lines = raw.decode("utf-8", "surrogateescape").split("\n")
        lines.pop()
        if len(lines) > MAX_ATTRIBUTES:
            return self._fail(f"a request of more than {MAX_ATTRIBUTES} attributes")
        if len(raw) > MAX_LINE and max(map(len, raw.split(b"\n"))) >= MAX_LINE:
            return self._fail(f"a line of more than {MAX_LINE} bytes")
        try:
            attributes = dict([line.split("=", 1) for line in lines])
        except ValueError:
            return self._fail("a line that is no attribute")
        if len(attributes) < len(lines):
            attributes = dict(line.split("=", 1) for line in reversed(lines))
        elif self._layouts < _MOST_LAYOUTS:
            self._layouts += 1
            self._layout = _layout(tuple(attributes))
        requests.append(Request(attributes))
        return True

    def _fail(self, error: str) -> bool:
        self.error = error
        self._layout = None
        self._buffer.clear()
        return False


@lru_cache(maxsize=64)
def _layout(names: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return the pattern of a request with attributes of these *names*, None if it has none."""
    if not all(map(_NAME.fullmatch, names)):
        return None
    lines = "".join(f"{name}=(?P<{name}>[^\n]*+)\n" for name in names)
    return re.compile(f"{lines}\n")
