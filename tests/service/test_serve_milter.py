"""``policyd serve --milter``: the daemon as a process, and a Postfix that is scripted."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from protocol.packets import QUIT, connect, content, envelope, offer, packet, replies

PATIENCE = 30.0
RULES = """\
version: 1
mode: enforce
local: {domains: [local.example]}
accounts: {default_domain: local.example}
likeness: {by: content}
limits:
  - {id: few, per: [account, likeness], count: recipients, max: 1, window: 1h, text: "No; {used}"}
"""
ADOPT = """\
import os, sys
given = int(sys.argv[1])
os.dup2(os.dup2(given, 50), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "milter"}
os.execv(sys.executable, [sys.executable, "-m", "policyd", *sys.argv[2:]])
"""
TEXT = b"the quick brown fox jumps over the lazy dog while nobody looks at all of it\r\n"
CONTINUE = (b"c", b"")


class Daemon:
    """A daemon in *directory* with a milter there, its own or an *inherited* one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.milter = directory / "milter"
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._peers: list[Peer] = []
        (directory / "policy.yaml").write_text(RULES, encoding="utf-8")

    def start(self, inherited: socket.socket | None = None) -> None:
        where = self._directory
        own = () if inherited else ("--milter", f"unix:{self.milter}:mode=0600")
        program = ["-m", "policyd"] if inherited is None else ["-c", ADOPT, str(inherited.fileno())]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, *program, "serve", "--config", where / "policy.yaml"),
                    *("--listen", f"unix:{where / 'policy'}", "--state", where / "state"),
                    *("--admin", where / "admin", *own),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=[inherited.fileno()] if inherited else [],
                env={**os.environ, "NOTIFY_SOCKET": "/nowhere"},
            )
        waits_for(lambda: "event=started" in self.logged() or self._process.poll() is not None)
        assert "event=started" in self.logged(), self.logged()

    def logged(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def connect(self) -> "Peer":
        self._peers.append(Peer(self.milter))
        return self._peers[-1]

    def kill(self) -> None:
        for peer in self._peers:
            peer.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)

    def told(self, command: str) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self._directory / "admin"))
            client.sendall(json.dumps({"command": command}).encode() + b"\n")
            with client.makefile("r", encoding="utf-8") as lines:
                lines.readline()  # the greeting
                return dict(json.loads(lines.readline()))


class Peer:
    """A connection as Postfix makes one."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))
        assert self.tell(offer() + connect())[0][0] == b"O"

    def message(self, name: str) -> tuple[bytes, bytes]:
        """Show a message to one recipient; return the answer."""
        assert self.tell(
            envelope(name.encode(), recipients=[b"<%b@ext.example>" % name.encode()]) + packet(b"T")
        ) == [CONTINUE]
        return self.tell(content(TEXT, Subject=b"News"))[0]

    def tell(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Send *data*; return what comes back, which is one reply."""
        self._socket.sendall(data)
        length = int.from_bytes(self._take(4), "big")
        return replies(length.to_bytes(4, "big") + self._take(length))

    def _take(self, number: int) -> bytes:
        data = b""
        while len(data) < number:
            more = self._socket.recv(number - len(data))
            assert more
            data += more
        return data

    def quit(self) -> None:
        self._socket.sendall(QUIT)
        assert self.is_closed()

    def close(self) -> None:
        self._socket.close()

    def is_closed(self) -> bool:
        return self._socket.recv(1) == b""


def waits_for(done: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.02)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    try:
        yield daemon
    finally:
        daemon.kill()


def test_content_is_decided_and_kept_over_a_restart(daemon: Daemon) -> None:
    daemon.start()
    assert f"unix:{daemon.milter}:mode=0600" in daemon.logged()
    assert daemon.told("wiring")["milters"] == [f"unix:{daemon.milter}:mode=0600"]
    assert daemon.milter.stat().st_mode & 0o777 == 0o600
    peer = daemon.connect()
    assert peer.message("one") == CONTINUE
    assert peer.message("two") == (b"y", b"554-5.7.1 No\r\n554 5.7.1 2\0")
    shown = daemon.told("status")["contents"]
    assert shown == {
        "connections": 1,
        "kinds": {"sketch": 2, "exact": 0, "unknown": 0},
        "answers": {"DUNNO": 1, "REJECT": 1},
        "faults": 0,
        "waiting": 0,
    }
    peer.quit()

    # the hashes are the same ones in the next run, and connections end with the daemon
    waiting = daemon.connect()
    assert daemon.stop() == 0
    assert waiting.is_closed()
    assert not daemon.milter.exists()
    daemon.start()
    assert daemon.connect().message("three")[0] == b"y"


def test_a_socket_that_systemd_calls_milter_is_one(daemon: Daemon) -> None:
    with ExitStack() as undo:
        inherited = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        inherited.bind(str(daemon.milter))
        inherited.listen()
        daemon.start(inherited)
        wiring = daemon.told("wiring")
        assert wiring["milters"] == [f"unix:{daemon.milter}"]
        assert len(wiring["listening"]) == 1
        assert daemon.connect().message("one") == CONTINUE
