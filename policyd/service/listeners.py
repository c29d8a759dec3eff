"""The ports that policyd serves, its own and inherited ones.

TCP is Twisted's own. For UNIX sockets Twisted's port does too much: it makes the file first and
sets the mode afterwards, and for an inherited socket it changes the mode, resets the backlog, and
at stop shuts the socket down and removes the path, all of which belong to somebody else. The port
used here is given a socket that listens already, ours or an inherited one, and only serves it.
"""

import errno
import grp
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorSocket,
    IReactorTCP,
)
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure

from policyd.service.addresses import ListenAddress, TcpAddress, UnixAddress
from policyd.service.systemd import InheritedSocket

BACKLOG = 1024
"""Connections that may wait for accept(): a Postfix that starts opens hundreds at once."""


class ListenError(Exception):
    """An address cannot be listened on; the text says which one and why."""


def listen(
    reactor: IReactorTCP, address: ListenAddress, factory: ServerFactory, group: str = ""
) -> IListeningPort:
    """Listen on *address* and let *factory* serve what connects.

    A UNIX socket that a dead daemon left behind is replaced. It is given to *group*, if there is
    such a group and the process may; otherwise it stays with its own. Raises *ListenError* when the
    address cannot be had, also when something alive answers there or the path is no socket at all.
    """
    try:
        if isinstance(address, TcpAddress):
            return reactor.listenTCP(address.port, factory, BACKLOG, address.host)
        _remove_stale(address)
        port = _UnixPort(_listening_socket(address), factory, reactor, made=address.path)
        if group:
            with suppress(KeyError, PermissionError):
                os.chown(address.path, -1, grp.getgrnam(group).gr_gid, follow_symlinks=False)
    except CannotListenError as error:
        raise ListenError(f"cannot listen on {address}: {error.socketError.strerror}") from error
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror}") from error
    port.startListening()
    return port


def adopt(
    reactor: IReactorSocket, inherited: InheritedSocket, factory: ServerFactory
) -> IListeningPort:
    """Let *factory* serve what connects to *inherited*, which belongs to the port from now on.

    Its backlog, its permissions and its path stay as whoever opened it has set them, and after
    the port has stopped the opener can go on listening.
    """
    if inherited.socket.family == socket.AF_UNIX:
        port = _UnixPort(inherited.socket, factory, reactor)
        port.startListening()
        return port
    with inherited.socket as sock:  # the reactor makes a duplicate for itself
        return reactor.adoptStreamPort(sock.fileno(), sock.family, factory)


def _remove_stale(address: UnixAddress) -> None:
    """Remove the socket of a daemon that is gone; raise *ListenError* if it is anything else."""
    try:
        kind = address.path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise ListenError(f"cannot listen on {address}: there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Whoever lives there may have a full queue: connecting must not wait for it.
        probe.setblocking(False)
        answer = probe.connect_ex(str(address.path))
    if answer == errno.ECONNREFUSED:
        address.path.unlink(missing_ok=True)
    elif answer in {0, errno.EAGAIN}:
        raise ListenError(f"cannot listen on {address}: another process listens there")
    else:
        raise ListenError(f"cannot listen on {address}: {os.strerror(answer)}")


def _listening_socket(address: UnixAddress) -> socket.socket:
    """Return a new socket that listens at *address*."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # The umask makes the file be born with its mode: a chmod would come a moment too late, and
        # could be led astray by whoever may write to the directory.
        umask = os.umask(0o777 & ~address.mode)
        try:
            sock.bind(str(address.path))
        finally:
            os.umask(umask)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


class _UnixPort(unix.Port):
    """Serve a UNIX socket that listens already, and at stop remove the path *made* for it."""

    def __init__(
        self,
        listening: socket.socket,
        factory: ServerFactory,
        reactor: Any,
        made: Path | None = None,
    ) -> None:
        super().__init__(listening.getsockname(), factory, reactor=reactor)
        self._preexistingSocket = listening
        self._made = made
        self._identity = made and _identity(made)

    def startListening(self) -> None:
        # unix.Port would chmod() the path and listen() again. The parent's takes the socket as it
        # is and will not shutdown() it, which would end the listening for its opener as well.
        tcp.Port.startListening(self)

    def connectionLost(self, reason: Failure) -> None:
        # While the socket is open nobody else's file can get the same identity.
        if self._made is not None and _identity(self._made) == self._identity:
            with suppress(OSError):
                self._made.unlink()
        # Not unix.Port's, which unlinks whatever is there.
        tcp.Port.connectionLost(self, reason)  # type: ignore[no-untyped-call]


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at *path* from any other, or None if there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
