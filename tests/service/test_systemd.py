import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from policyd.service import systemd
from policyd.service.systemd import InheritedSocketError, Notifier, inherited_sockets

PID = 4711


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """What systemd has at the other end of NOTIFY_SOCKET."""
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
    ):
        sock.bind(f"{directory}/notify")
        sock.setblocking(False)
        yield sock


def notifier(manager: socket.socket, **environ: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": manager.getsockname(), **environ}, PID)


def heard(manager: socket.socket) -> str:
    return manager.recv(65536).decode()


def test_each_message_is_what_sd_notify_documents(manager: socket.socket) -> None:
    tell = notifier(manager)
    tell.ready("9 limits, mode observe")
    assert heard(manager) == "READY=1\nSTATUS=9 limits, mode observe"
    tell.status("12 incidents")
    assert heard(manager) == "STATUS=12 incidents"
    tell.stopping()
    assert heard(manager) == "STOPPING=1"
    tell.watchdog()
    assert heard(manager) == "WATCHDOG=1"


def test_a_reload_carries_the_monotonic_time_in_microseconds(manager: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    notifier(manager).reloading()
    state, _, stamp = heard(manager).partition("\nMONOTONIC_USEC=")
    assert state == "RELOADING=1"
    assert before <= int(stamp) <= time.monotonic_ns() // 1000


def test_an_abstract_address_begins_with_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # the kernel chooses an abstract name
        name = sock.getsockname()[1:].decode()
        Notifier({"NOTIFY_SOCKET": f"@{name}"}, PID).stopping()
        assert sock.recv(100) == b"STOPPING=1"


def test_a_status_is_one_line_whatever_is_in_it(manager: socket.socket) -> None:
    notifier(manager).status(" a\nMAINPID=1\r\n\tb\x00\x1b[31m\u2028c\udcff ü ")
    assert heard(manager) == "STATUS=a MAINPID=1 b [31m c ü"


def test_a_status_is_short_enough_for_systemd_to_take(manager: socket.socket) -> None:
    notifier(manager).ready("\N{ENVELOPE}\N{GRINNING FACE}" * 2000)
    assert len(heard(manager).encode()) <= 4096


def everything(tell: Notifier) -> None:
    tell.ready("on")
    tell.status("on")
    tell.reloading()
    tell.stopping()
    tell.watchdog()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "/nowhere/at/all"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "/" + "x" * 200},
        {"NOTIFY_SOCKET": "/a\0b"},
    ],
)
def test_nobody_to_tell_is_no_error(environ: dict[str, str]) -> None:
    everything(Notifier(environ, PID))


def test_a_manager_that_does_not_read_is_waited_for_only_when_it_matters(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                filler.sendto(b"x", manager.getsockname())
    waits = []

    class Hurried(socket.socket):
        def settimeout(self, value: float | None) -> None:
            waits.append(value)
            super().settimeout(0)

    monkeypatch.setattr(socket, "socket", Hurried)
    everything(notifier(manager))
    assert waits == [1, 0, 1, 0, 0]  # a lost READY=1 would have the daemon killed


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_the_watchdog_wants_to_hear_twice_a_period(
    manager: socket.socket, environ: dict[str, str], interval: float | None
) -> None:
    assert notifier(manager, **environ).watchdog_interval == interval


def test_without_a_manager_there_is_no_watchdog() -> None:
    assert Notifier({"WATCHDOG_USEC": "30000000"}, PID).watchdog_interval is None


# Inherited sockets. Several at once, and the descriptors 3, 4, 5 themselves, are in
# test_listeners.py, where a child process gets them.


@pytest.fixture
def inherit(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], dict[str, str]]:
    """Hand over a descriptor that is not number 3, which belongs to pytest."""

    def environ(fd: int) -> dict[str, str]:
        monkeypatch.setattr(systemd, "FIRST_DESCRIPTOR", fd)
        return {"LISTEN_PID": str(PID), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "policy", "HOME": "/"}

    return environ


Inherit = Callable[[int], dict[str, str]]


def tcp_listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_listening_socket_comes_out_ready_for_the_event_loop(inherit: Inherit) -> None:
    with tcp_listener() as original:
        original.setblocking(True)
        original.set_inheritable(True)
        environ = inherit(os.dup(original.fileno()))
        os.set_inheritable(systemd.FIRST_DESCRIPTOR, True)
        (inherited,) = inherited_sockets(environ, PID)
        with inherited.socket as sock:
            assert inherited.name == "policy"
            assert str(inherited) == f"tcp:127.0.0.1:{original.getsockname()[1]}"
            assert inherited.is_loopback
            assert not sock.get_inheritable()
            assert not os.get_blocking(sock.fileno())
            assert environ == {"HOME": "/"}


def test_without_names_a_socket_is_called_unknown(inherit: Inherit) -> None:
    environ = inherit(tcp_listener().detach())
    del environ["LISTEN_FDNAMES"]
    (inherited,) = inherited_sockets(environ, PID)
    with inherited.socket:
        assert inherited.name == "unknown"


def test_an_abstract_unix_socket_is_shown_with_an_at_sign(inherit: Inherit) -> None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind("")
    sock.listen()
    name = sock.getsockname()[1:].decode()
    (inherited,) = inherited_sockets(inherit(sock.detach()), PID)
    with inherited.socket:
        assert str(inherited) == f"unix:@{name}"
        assert inherited.is_loopback


def test_an_address_that_others_reach_is_not_loopback(inherit: Inherit) -> None:
    sock = socket.create_server(("0.0.0.0", 0))  # nothing is ever accepted from it
    (inherited,) = inherited_sockets(inherit(sock.detach()), PID)
    with inherited.socket:
        assert not inherited.is_loopback


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "policy"},
        {"LISTEN_PID": "me", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(PID), "LISTEN_FDS": "0"},
    ],
)
def test_sockets_for_nobody_or_somebody_else_are_left_alone(environ: dict[str, str]) -> None:
    assert inherited_sockets(environ, PID) == []
    assert environ == {}


def datagram() -> int:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()


def connected() -> int:
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours.detach()


def netlink() -> int:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).detach()


def no_socket() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def closed() -> int:
    fd = no_socket()
    os.close(fd)
    return fd


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (datagram, "is not a stream socket; use ListenStream= in the socket unit"),
        (connected, "does not listen; use Accept=no in the socket unit"),
        (netlink, "is neither a TCP nor a UNIX socket"),
        (no_socket, "is not a socket: Socket operation on non-socket"),
        (closed, "is not a socket: Bad file descriptor"),
    ],
)
def test_what_cannot_be_served_on_is_refused(
    inherit: Inherit, make: Callable[[], int], problem: str
) -> None:
    fd = make()
    environ = inherit(fd)
    with pytest.raises(InheritedSocketError) as caught:
        inherited_sockets(environ, PID)
    assert str(caught.value) == f"inherited descriptor {fd} (policy) {problem}"
    assert isinstance(caught.value, ValueError)
    assert environ == {"HOME": "/"}
    if make is no_socket:
        os.close(fd)
    else:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"LISTEN_FDNAMES": "a:b"}, "LISTEN_FDNAMES names 2 sockets and LISTEN_FDS passes 1"),
        ({"LISTEN_FDS": "2"}, "LISTEN_FDNAMES names 1 sockets and LISTEN_FDS passes 2"),
        ({"LISTEN_FDS": "one"}, "LISTEN_FDS is 'one', which is not a number"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS is '-1', which is not a number"),
    ],
)
def test_variables_that_contradict_each_other_are_refused(
    inherit: Inherit, changed: dict[str, str], problem: str
) -> None:
    with tcp_listener() as sock:
        environ = inherit(sock.fileno()) | changed
        with pytest.raises(InheritedSocketError, match=problem):
            inherited_sockets(environ, PID)
