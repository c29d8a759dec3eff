import argparse
import errno
import grp
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from excuse import unable
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.testing import MemoryReactorClock

from policyd.service.addresses import TcpAddress, UnixAddress, parse_listen
from policyd.service.listeners import ListenError, adopt, listen
from policyd.service.systemd import InheritedSocket

ROOT = Path(__file__).parents[2]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Somewhere short enough for a UNIX socket, which pytest's tmp_path may not be."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


# Addresses


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("tcp:127.0.0.1:10040", TcpAddress("127.0.0.1", 10040), True),
        ("tcp:127.9.9.9:0", TcpAddress("127.9.9.9", 0), True),
        ("tcp:0.0.0.0:10040", TcpAddress("0.0.0.0", 10040), False),
        ("tcp:192.0.2.1:65535", TcpAddress("192.0.2.1", 65535), False),
        ("tcp:[::1]:10040", TcpAddress("::1", 10040), True),
        ("tcp:[::]:10040", TcpAddress("::", 10040), False),
        ("tcp:[2001:db8::1]:25", TcpAddress("2001:db8::1", 25), False),
        ("tcp:[fe80::1%eth0]:25", TcpAddress("fe80::1%eth0", 25), False),
        ("unix:/run/policyd/policy.sock", UnixAddress(Path("/run/policyd/policy.sock")), True),
        ("unix:/run/p:mode=0600", UnixAddress(Path("/run/p"), 0o600), True),
    ],
)
def test_an_address_is_read_and_written_alike(
    text: str, address: TcpAddress | UnixAddress, loopback: bool
) -> None:
    assert parse_listen(text) == address
    assert str(address) == text
    assert address.is_loopback is loopback


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("tcp:[0:0::0001]:010", "tcp:[::1]:10"),
        ("unix:/run/p:mode=0660", "unix:/run/p"),
        ("unix:/run/p:mode=600", "unix:/run/p:mode=0600"),
    ],
)
def test_other_spellings_come_out_in_one(text: str, canonical: str) -> None:
    assert str(parse_listen(text)) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("127.0.0.1:10040", "write tcp:127.0.0.1:10040 or unix:/run/policyd/policy.sock"),
        ("10040", "'10040' begins with neither 'tcp:' nor 'unix:'; write tcp:127.0.0.1:10040"),
        ("inet:127.0.0.1:1", "write tcp:127.0.0.1:1"),
        ("/run/p", "'/run/p' begins with neither 'tcp:' nor 'unix:'; write unix:/run/p"),
        ("", "'' begins with neither"),
        ("tcp:", "'tcp:' does not end in a port from 1 to 65535; write tcp:127.0.0.1:10040 or"),
        ("tcp:127.0.0.1", "does not end in a port"),
        ("tcp:127.0.0.1:", "does not end in a port"),
        ("tcp:127.0.0.1:65536", "does not end in a port"),
        ("tcp:127.0.0.1:smtp", "does not end in a port"),
        ("tcp:127.0.0.1:-1", "does not end in a port"),
        ("tcp:[::1]", "does not end in a port"),
        ("tcp:localhost:25", "has no IP address before the port; write it in numbers: tcp:127.0"),
        ("tcp::25", "or tcp:0.0.0.0:25 for all"),
        ("tcp:*:25", "has no IP address before the port"),
        ("tcp:::1:25", "has an IPv6 address, and brackets are for IPv6; write tcp:[::1]:25"),
        ("tcp:[::1:25", "write tcp:[::1]:25"),
        ("tcp:[127.0.0.1]:25", "write tcp:127.0.0.1:25"),
        ("unix:", "'unix:' is not the whole path of a socket; begin it with '/', like unix:/run/"),
        ("unix:run/p", "is not the whole path"),
        ("unix:@abstract", "is not the whole path"),
        ("unix:/run/policyd/", "is not the whole path"),
        ("unix:/run/p:0660", "something other than an octal mode after the path; write unix:/run"),
        ("unix:/run/p:mode=0o660", "write unix:/run/p:mode=0660"),
        ("unix:/run/p:mode=rw", "something other than an octal mode"),
        ("unix:/run/p:mode=0888", "something other than an octal mode"),
        ("unix:/run/p:mode=4755", "something other than an octal mode"),
        ("unix:/run/p:", "something other than an octal mode"),
        ("unix:/" + "ü" * 60, "has a path longer than the 107 bytes of a UNIX address"),
    ],
)
def test_a_text_that_is_no_address_is_refused_with_the_likely_fix(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message follows
        parse_listen(text)
    assert message in str(caught.value)


def test_argparse_shows_the_whole_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=parse_listen)
    with pytest.raises(SystemExit):
        parser.parse_args(["--listen", "10040"])
    assert "neither 'tcp:' nor 'unix:'; write tcp:127.0.0.1:10040" in capsys.readouterr().err


# UNIX sockets: a real socket, and a reactor that does only what it is told


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self.transport.write(data)


ECHO = ServerFactory.forProtocol(Echo)
ECHO.noisy = False


@contextmanager
def listening(path: Path, mode: int = 0o660, group: str = "") -> Iterator[MemoryReactorClock]:
    reactor = MemoryReactorClock()
    port = listen(reactor, UnixAddress(path, mode), ECHO, group)
    try:
        yield reactor
    finally:
        port.stopListening()
        reactor.advance(0)


def connect(path: Path) -> int:
    """Return the error number of connecting to *path*, 0 when somebody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        return sock.connect_ex(str(path))


def queue_up(path: Path, at_most: int) -> int:
    """Return how many connections fit in the queue of *path*."""
    with ExitStack() as stack:
        for count in range(at_most):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.setblocking(False)
            if sock.connect_ex(str(path)) == errno.EAGAIN:
                return count
    return at_most


def bound(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    return sock


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("asked", [0o600, 0o660, 0o666])
def test_a_unix_socket_has_the_mode_asked_for(directory: Path, umask: int, asked: int) -> None:
    before = os.umask(umask)
    try:
        with listening(directory / "s", asked):
            assert mode(directory / "s") == asked
    finally:
        assert os.umask(before) == umask


def test_a_unix_socket_has_its_mode_from_its_first_moment(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # bind() made it right if it needs no chmod, and no chmod is what there is to see.
    def forbidden(*_: object, **__: object) -> None:
        pytest.fail("the mode is changed after the file was made")

    for name in ("chmod", "fchmod", "lchmod"):
        monkeypatch.setattr(os, name, forbidden, raising=False)
    with listening(directory / "s", 0o600):
        assert mode(directory / "s") == 0o600


def test_a_unix_socket_is_given_to_a_group(directory: Path) -> None:
    if os.geteuid() != 0:
        unable("only root gives files to any group")
    other = next(group for group in grp.getgrall() if group.gr_gid)
    for name, gid in ((other.gr_name, other.gr_gid), ("no-such-group", 0), ("", 0)):
        with listening(directory / "s", group=name):
            assert (directory / "s").stat().st_gid == gid
            assert mode(directory / "s") == 0o660


GIVE = """
import os, sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.protocol import ServerFactory
from policyd.service.addresses import UnixAddress
from policyd.service.listeners import listen
os.setgroups([int(sys.argv[2])])
os.setegid(65534)
os.seteuid(65534)
listen(reactor, UnixAddress(Path(sys.argv[1])), ServerFactory(), sys.argv[3])
"""


@pytest.mark.parametrize("is_member", [True, False])
def test_without_privileges_a_socket_is_given_to_a_group_of_ours_alone(
    directory: Path, is_member: bool
) -> None:
    if os.geteuid() != 0:
        unable("only root becomes somebody else")
    directory.chmod(0o777)
    other = next(group for group in grp.getgrall() if group.gr_gid not in (0, 65534))
    ours = other.gr_gid if is_member else 65534
    subprocess.run(
        [sys.executable, "-c", GIVE, directory / "s", str(ours), other.gr_name], check=True
    )
    assert (directory / "s").stat().st_gid == ours


def test_a_unix_socket_has_a_long_queue(directory: Path) -> None:
    with listening(directory / "s"):
        assert queue_up(directory / "s", at_most=200) == 200


def test_a_unix_socket_is_removed_at_stop(directory: Path) -> None:
    with listening(directory / "s"):
        assert connect(directory / "s") == 0
    assert list(directory.iterdir()) == []


def test_a_path_that_is_somebody_elses_by_now_is_left_at_stop(directory: Path) -> None:
    path = directory / "s"
    with listening(path):
        path.unlink()
        other = bound(path)
        other.listen()
    assert connect(path) == 0
    other.close()


def test_a_path_that_is_gone_by_now_is_no_error_at_stop(directory: Path) -> None:
    with listening(directory / "s"):
        (directory / "s").unlink()


def test_the_socket_of_a_dead_daemon_is_replaced(directory: Path) -> None:
    bound(directory / "s").close()
    assert connect(directory / "s") == errno.ECONNREFUSED
    with listening(directory / "s"):
        assert connect(directory / "s") == 0


@pytest.mark.parametrize("crowd", [0, 5])
def test_the_socket_of_a_live_daemon_is_left_alone(directory: Path, crowd: int) -> None:
    path = directory / "s"
    with bound(path) as other, ExitStack() as stack:
        other.listen(0)
        for _ in range(crowd):  # with its queue full, connecting would block
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.setblocking(False)
            sock.connect_ex(str(path))
        identity = path.stat().st_ino
        with pytest.raises(ListenError) as caught:
            listen(MemoryReactorClock(), UnixAddress(path), ECHO)
        assert str(caught.value) == f"cannot listen on unix:{path}: another process listens there"
        assert path.stat().st_ino == identity


def test_a_socket_of_another_kind_is_left_alone(directory: Path) -> None:
    path = directory / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(ListenError, match="Protocol wrong type for socket"):
            listen(MemoryReactorClock(), UnixAddress(path), ECHO)
        assert path.is_socket()


def test_what_is_not_a_socket_is_left_alone(directory: Path) -> None:
    path = directory / "s"
    path.write_text("precious")
    (directory / "link").symlink_to(directory / "nowhere")
    for taken in (path, directory / "link", directory):
        with pytest.raises(ListenError, match="there is a file that is not a socket"):
            listen(MemoryReactorClock(), UnixAddress(taken), ECHO)
    assert path.read_text() == "precious"


def test_a_directory_that_is_not_there_is_named(directory: Path) -> None:
    with pytest.raises(ListenError) as caught:
        listen(MemoryReactorClock(), UnixAddress(directory / "no" / "s"), ECHO)
    assert str(caught.value) == (
        f"cannot listen on unix:{directory}/no/s: No such file or directory"
    )


# The traps of an inherited UNIX socket


def test_an_adopted_unix_socket_stays_as_its_opener_made_it(directory: Path) -> None:
    path = directory / "s"
    reactor = MemoryReactorClock()
    with bound(path) as opener:
        path.chmod(0o600)
        opener.listen(2)
        opener.setblocking(False)
        before = path.stat()
        inherited = InheritedSocket("policy", opener.dup())
        port = adopt(reactor, inherited, ECHO)
        assert port.getHost().name == os.fsencode(path)
        assert mode(path) == 0o600
        assert queue_up(path, at_most=10) == 3  # Linux lets one more in than it was told
        opener.listen(200)

        port.stopListening()
        reactor.advance(0)
        assert inherited.socket.fileno() == -1
        assert path.stat().st_ino == before.st_ino
        assert mode(path) == 0o600
        # It listens on for its opener, with the queue that the opener gave it.
        assert queue_up(path, at_most=100) == 100
        opener.accept()[0].close()


def test_an_adopted_unix_socket_with_nobody_waiting_does_not_block(directory: Path) -> None:
    reactor = MemoryReactorClock()
    with bound(directory / "s") as opener:
        opener.listen()
        opener.setblocking(False)
        port = adopt(reactor, InheritedSocket("policy", opener.dup()), ECHO)
        assert port in reactor.getReaders()
        port.doRead()
        port.stopListening()
        reactor.advance(0)


def test_an_adopted_tcp_socket_is_left_to_the_reactor_alone() -> None:
    reactor = MemoryReactorClock()
    inherited = InheritedSocket("policy", socket.create_server(("127.0.0.1", 0)))
    adopt(reactor, inherited, ECHO)
    ((_, family, factory),) = reactor.adoptedPorts
    assert (family, factory) == (socket.AF_INET, ECHO)
    assert inherited.socket.fileno() == -1  # a reactor works on a duplicate


# A process of its own, with a reactor that runs and descriptors from 3 on

LAUNCH = """
import fcntl, os, sys
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",") if fd]
for place, fd in enumerate(high, 3):
    os.dup2(fd, place)
    os.close(fd)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""

DAEMON = """
import json, os, sys
from twisted.internet import reactor
from twisted.internet.protocol import Protocol, ServerFactory
from policyd.service.addresses import parse_listen
from policyd.service.listeners import ListenError, adopt, listen
from policyd.service.systemd import inherited_sockets

class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

def start():
    inherited = inherited_sockets(os.environ, os.getpid())
    told = {
        "inherited": [[one.name, str(one), one.is_loopback] for one in inherited],
        "passed on": [one.socket.get_inheritable() for one in inherited],
        "left": [name for name in os.environ if name.startswith("LISTEN_")],
        "ports": [],
    }
    for one in inherited:
        adopt(reactor, one, factory)
    try:
        for text in sys.argv[1:]:
            host = listen(reactor, parse_listen(text), factory).getHost()
            told["ports"].append(getattr(host, "port", None))
    except ListenError as error:
        told["error"] = str(error)
    print(json.dumps(told), flush=True)

factory = ServerFactory.forProtocol(Echo)
reactor.callWhenRunning(start)
reactor.run()
print("stopped")
"""


@contextmanager
def daemon(
    *addresses: str, sockets: Sequence[socket.socket] = (), names: str | None = None
) -> Iterator[dict[str, object]]:
    """Run a small daemon as systemd would, and yield what it says once it listens."""
    environ = os.environ | {"PYTHONPATH": str(ROOT), "LISTEN_FDS": str(len(sockets))}
    if names is not None:
        environ["LISTEN_FDNAMES"] = names
    descriptors = [sock.fileno() for sock in sockets]
    with subprocess.Popen(
        [
            *(sys.executable, "-c", LAUNCH, ",".join(map(str, descriptors))),
            *("-c", DAEMON, *addresses),
        ],
        pass_fds=descriptors,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        said = process.stdout.readline()
        try:
            yield json.loads(said or "{}")
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate()
        assert (out, err, process.returncode) == ("stopped\n", "", 0)


def echo(family: int, address: object) -> bytes:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.connect(address)
        sock.sendall(b"hello")
        return sock.recv(100)


def backlog(tcp: socket.socket) -> int:
    """Return how many connections may wait, which the kernel tells as tcpi_sacked."""
    return struct.unpack_from("=I", tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[0]


def ipv6_listener() -> socket.socket:
    try:
        return socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        unable(f"no IPv6 here: {error}")


def test_inherited_sockets_are_served_and_left_as_they_were(directory: Path) -> None:
    path = directory / "s"
    with socket.create_server(("127.0.0.1", 0)) as tcp, bound(path) as unix:
        path.chmod(0o620)
        for sock in (tcp, unix):
            sock.listen(200)
            sock.setblocking(True)  # as systemd passes them on
        before = path.stat()
        address = f"tcp:127.0.0.1:{tcp.getsockname()[1]}"
        with daemon(sockets=[tcp, unix], names="policy:chroot") as told:
            assert told == {
                "inherited": [["policy", address, True], ["chroot", f"unix:{path}", True]],
                "passed on": [False, False],
                "left": [],
                "ports": [],
            }
            assert echo(socket.AF_INET, tcp.getsockname()) == b"hello"
            assert echo(socket.AF_UNIX, str(path)) == b"hello"
            # The flag belongs to what both processes have open.
            assert not os.get_blocking(tcp.fileno())
            assert not os.get_blocking(unix.fileno())
            assert backlog(tcp) == 200
        after = path.stat()
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
        # Both still listen, with a queue longer than Twisted's 50: the next daemon loses nobody.
        assert queue_up(path, at_most=100) == 100
        assert backlog(tcp) == 200
        with socket.create_connection(tcp.getsockname()):
            tcp.accept()[0].close()


def test_inherited_sockets_need_no_names() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, daemon(sockets=[tcp]) as told:
        assert told["inherited"] == [["unknown", f"tcp:127.0.0.1:{tcp.getsockname()[1]}", True]]
        assert echo(socket.AF_INET, tcp.getsockname()) == b"hello"


def test_an_inherited_ipv6_socket_is_served() -> None:
    with ipv6_listener() as tcp:
        tcp.listen(200)
        with daemon(sockets=[tcp], names="policy") as told:
            assert told["inherited"] == [["policy", f"tcp:[::1]:{tcp.getsockname()[1]}", True]]
            assert echo(socket.AF_INET6, tcp.getsockname()) == b"hello"
            assert backlog(tcp) == 200


def test_own_tcp_sockets_are_served_on_several_addresses() -> None:
    with daemon("tcp:127.0.0.1:0", "tcp:127.0.0.2:0") as told:
        first, second = told["ports"]
        assert echo(socket.AF_INET, ("127.0.0.1", first)) == b"hello"
        assert echo(socket.AF_INET, ("127.0.0.2", second)) == b"hello"


def test_own_ipv6_socket_is_served() -> None:
    ipv6_listener().close()
    with daemon("tcp:[::1]:0") as told:
        assert echo(socket.AF_INET6, ("::1", told["ports"][0])) == b"hello"


def test_own_unix_socket_is_served_beside_tcp_and_removed_at_the_end(directory: Path) -> None:
    path = directory / "s"
    bound(path).close()  # left behind
    with daemon("tcp:127.0.0.1:0", f"unix:{path}:mode=0600") as told:
        assert mode(path) == 0o600
        assert echo(socket.AF_INET, ("127.0.0.1", told["ports"][0])) == b"hello"
        assert echo(socket.AF_UNIX, str(path)) == b"hello"
    assert not path.exists()


def test_a_taken_tcp_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        address = f"tcp:127.0.0.1:{tcp.getsockname()[1]}"
        with daemon(address) as told:
            assert told["error"] == f"cannot listen on {address}: Address already in use"
