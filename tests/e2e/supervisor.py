"""policyd as systemd runs it by the units that we ship; there is no systemd in a test.

Done is what decides whether mail is lost: the socket is opened here, as policyd.socket says, and
outlives every daemon; one that dies is started again as policyd.service says; one that starts is
heard when it says that it is ready. Not done: the watchdog, the sandbox, and the start limit.
"""

import socket
import subprocess
import sys
import threading
from configparser import ConfigParser
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from .daemon import REPOSITORY, Daemon
from .waiting import wait_until

FIRST_DESCRIPTOR = 3
# runs in the place of the daemon until it becomes the daemon, as only there its pid is known
HAND_OVER = f"""\
import os, sys
socket = int(sys.argv[1])
if socket != {FIRST_DESCRIPTOR}:
    os.dup2(socket, {FIRST_DESCRIPTOR})
    os.close(socket)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=sys.argv[2])
os.environ["NOTIFY_SOCKET"] = sys.argv[3]
os.execvp(sys.argv[4], sys.argv[4:])
"""


def settings(unit: str, section: str) -> dict[str, str]:
    """Return what a unit of ours says; of what is said several times, the last."""
    parser = ConfigParser(
        strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",)
    )
    parser.optionxform = str
    parser.read_string((REPOSITORY / "systemd" / unit).read_text(encoding="utf-8"))
    return dict(parser[section])


class Service(Daemon):
    """The daemon behind a socket that stays, started again whenever it fails.

    *ends* are the exit codes of the daemons so far; minus the number of the signal, if one was it.
    """

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory, port)
        self.ends: list[int] = []
        self._listen = []
        its, socks = settings("policyd.service", "Service"), settings("policyd.socket", "Socket")
        self._pause = float(its["RestartSec"])
        self._for_good = {0, *map(int, its["RestartPreventExitStatus"].split())}
        self._name = socks["FileDescriptorName"]
        host, _, _ = socks["ListenStream"].rpartition(":")
        backlog = int(socks.get("Backlog", socket.SOMAXCONN))
        self._socket = socket.create_server((host, port), backlog=backlog)
        self._notify = directory / "notify"
        self._keeper: threading.Thread | None = None
        self._ready = threading.Event()
        self._unwanted = threading.Event()
        self._change = threading.Lock()

    def start(self) -> None:
        self._unwanted.clear()
        self._ready.clear()
        self._keeper = threading.Thread(target=self._keep_running)
        self._keeper.start()
        self.wait_until_ready()

    def restart(self) -> None:
        """Do what `systemctl restart` does."""
        code = self.stop()
        if code:
            message = f"policyd ended with {code}"
            raise RuntimeError(message)
        self.start()

    def crash(self) -> None:
        """Kill the daemon without a warning; it is started again unasked."""
        self._ready.clear()
        process = self._process
        if not process:
            raise RuntimeError("policyd was not started")
        process.kill()
        process.wait()

    def wait_until_ready(self) -> None:
        wait_until(
            lambda: self._ready.is_set() or not self.is_running(), "policyd says that it is ready"
        )
        if not self.is_running():
            message = f"policyd has ended; the log:\n{''.join(self.raw[-40:])}"
            raise RuntimeError(message)

    def is_running(self) -> bool:
        """Tell whether it runs or will."""
        return self._keeper is not None and self._keeper.is_alive()

    def close(self) -> None:
        super().close()
        self._socket.close()

    def _keep_running(self) -> None:
        while True:
            with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as told:
                self._notify.unlink(missing_ok=True)
                told.bind(str(self._notify))
                with self._change:
                    if self._unwanted.is_set():
                        return
                    self._launch()
                    process = self._process
                self._hear(told, process)
                code = process.wait()
            self.ends.append(code)
            if code in self._for_good or self._unwanted.wait(self._pause):
                return

    def _hear(self, told: socket.socket, process: subprocess.Popen[str]) -> None:
        """Wait until *process* is ready, or has ended."""
        told.settimeout(0.1)
        while process.poll() is None:
            with suppress(TimeoutError):
                if "READY=1" in told.recv(4096).decode().splitlines():
                    self._ready.set()
                    return

    def _run(self, words: list[str], **options: Any) -> subprocess.Popen[str]:
        fd = self._socket.fileno()
        hand_over = [sys.executable, "-I", "-S", "-c", HAND_OVER, str(fd), self._name]
        return super()._run([*hand_over, str(self._notify), *words], pass_fds=[fd], **options)

    def _end(self, number: int) -> int:
        with self._change:
            self._unwanted.set()
        code = super()._end(number)
        if self._keeper:
            self._keeper.join()
        return code
