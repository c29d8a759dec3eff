"""What a service manager and its daemon say to each other, spoken without libsystemd.

The *Notifier* tells systemd that the daemon is ready, alive or about to stop. *inherited_sockets*
takes over the listening sockets that systemd opened before the daemon existed, so that a restart
refuses nobody. Both are given the environment they read, so that one place decides what it is and
tests need no systemd. Anything else that speaks the two protocols does as well.
"""

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address

FIRST_DESCRIPTOR = 3
"""The first inherited descriptor; the others follow without a gap (sd_listen_fds(3))."""

_STATUS_CHARACTERS = 900
"""systemd drops a message of more than 4096 bytes; a character may take four."""


class Notifier:
    """Tell the service manager how the daemon is doing.

    Without *NOTIFY_SOCKET* in *environ* every method does nothing. No method raises when a message
    cannot be delivered: nothing that can be said here is worth an unanswered mail.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        period = environ.get("WATCHDOG_USEC", "")
        meant_for_us = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        self._watchdog_usec = int(period) if period.isdecimal() and meant_for_us else 0

    @property
    def watchdog_interval(self) -> float | None:
        """Return the seconds to leave between two calls of *watchdog*, or None without one.

        It is half of what the service manager allows, as sd_watchdog_enabled(3) recommends.
        """
        if not self._address or not self._watchdog_usec:
            return None
        return self._watchdog_usec / 2_000_000

    def ready(self, status: str) -> None:
        """Say that starting or reloading is complete, and show *status*."""
        # A daemon whose READY=1 got lost is killed: this one may wait for a slow reader.
        self._send("READY=1", _status(status), patience=1.0)

    def status(self, text: str) -> None:
        """Show *text* in `systemctl status`: its first 900 characters, on one line."""
        self._send(_status(text))

    def reloading(self) -> None:
        """Say that a reload has begun; *ready* must follow, whatever comes of it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", patience=1.0)

    def stopping(self) -> None:
        """Say that the daemon is on its way out and is not to be called dead for it."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """Say that the event loop turns."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str, patience: float = 0.0) -> None:
        """Send one message, waiting for at most *patience* seconds."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(patience)
                sock.sendto("\n".join(assignments).encode(), self._address)
        except (OSError, ValueError):
            # ValueError: an address that cannot be one, such as a path with a NUL in it.
            return


def _status(text: str) -> str:
    """Return the assignment that shows *text*, which cannot begin another assignment."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return "STATUS=" + " ".join(printable.split())[:_STATUS_CHARACTERS]


class InheritedSocketError(ValueError):
    """What was handed over at the start is not what policyd can serve on."""


@dataclass(frozen=True)
class InheritedSocket:
    """A listening stream socket that somebody else opened, and the *name* it was given."""

    name: str
    socket: socket.socket

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach the socket."""
        if self.socket.family == socket.AF_UNIX:
            return True
        return ip_address(self.socket.getsockname()[0]).is_loopback

    def __str__(self) -> str:
        address = self.socket.getsockname()
        if self.socket.family == socket.AF_UNIX:
            path = os.fsdecode(address)
            return f"unix:{'@' + path[1:] if path.startswith(chr(0)) else path}"
        host = f"[{address[0]}]" if self.socket.family == socket.AF_INET6 else address[0]
        return f"tcp:{host}:{address[1]}"


def inherited_sockets(environ: MutableMapping[str, str], pid: int) -> list[InheritedSocket]:
    """Take over the sockets that *environ* says were passed to the process *pid*.

    They come out non-blocking and closed on exec, and *environ* without the variables that
    announced them, so that no child believes they are its own. Raises *InheritedSocketError* for
    anything that is not a listening TCP or UNIX stream socket; then none stays open.
    """
    meant_for = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", None)
    if meant_for != str(pid):
        return []
    if not count.isdecimal():
        raise InheritedSocketError(f"LISTEN_FDS is {count!r}, which is not a number")
    labels = ["unknown"] * int(count) if names is None else names.split(":")
    if len(labels) != int(count):
        raise InheritedSocketError(
            f"LISTEN_FDNAMES names {len(labels)} sockets and LISTEN_FDS passes {count}; "
            "let both be set by the same service manager"
        )
    with ExitStack() as undo:
        taken = []
        for fd, label in enumerate(labels, FIRST_DESCRIPTOR):
            inherited = InheritedSocket(label, undo.enter_context(_socket(fd, label)))
            _check(inherited)
            # A blocking one would hang the event loop when a client gives up before accept().
            inherited.socket.setblocking(False)
            inherited.socket.set_inheritable(False)
            taken.append(inherited)
        undo.pop_all()
    return taken


def _socket(fd: int, name: str) -> socket.socket:
    try:
        return socket.socket(fileno=fd)
    except OSError as error:
        raise InheritedSocketError(
            f"inherited descriptor {fd} ({name}) is not a socket: {error.strerror}"
        ) from error


def _check(inherited: InheritedSocket) -> None:
    """Raise unless *inherited* can be served on."""
    sock = inherited.socket
    if sock.family not in {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}:
        problem = "is neither a TCP nor a UNIX socket"
    elif sock.type != socket.SOCK_STREAM:
        problem = "is not a stream socket; use ListenStream= in the socket unit"
    elif not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        problem = "does not listen; use Accept=no in the socket unit"
    else:
        return
    raise InheritedSocketError(f"inherited descriptor {sock.fileno()} ({inherited.name}) {problem}")
