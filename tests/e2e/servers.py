"""The mail servers: a Postfix of our own, its login service, and the sink that all mail ends in."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .dovecot import Dovecot
from .ports import free_ports
from .postfix import PrivatePostfix
from .postfix_conf import PORTS
from .programs import find
from .rules import LOGINS
from .sink import Sink

PROGRAMS = {"postfix": "postfix", "dovecot": "dovecot-core", "openssl": "openssl"}

Servers = tuple[PrivatePostfix, Sink]


def missing() -> list[str]:
    """Return what the servers need and do not find."""
    packages = [package for name, package in PROGRAMS.items() if not find(name)]
    wanted = [f"apt install {' '.join(packages)}"] if packages else []
    if os.geteuid() != 0:
        wanted.append("root, as Postfix does not start otherwise")
    return wanted


def unchanged(_postfix: PrivatePostfix, _ports: dict[str, int]) -> None:
    """Leave Postfix as all tests know it."""


@contextmanager
def serving(
    more_ports: Sequence[str] = (),
    change: Callable[[PrivatePostfix, dict[str, int]], None] = unchanged,
) -> Iterator[Servers]:
    """Start them for as long as there is a `with`; *change* is made to Postfix before."""
    names = (*PORTS, *more_ports)
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    # not pytest's own directory: Postfix must be able to pass through all of it
    directory = Path(tempfile.mkdtemp(prefix="policyd-e2e-"))
    directory.chmod(0o755)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        sink = Sink(ports["sink"])
        undo.callback(sink.close)
        postfix = PrivatePostfix(directory, ports)
        change(postfix, ports)
        undo.callback(postfix.stop)
        postfix.start()
        dovecot = Dovecot(directory / "dovecot", postfix.login_socket, LOGINS)
        undo.callback(dovecot.stop)
        dovecot.start()
        yield postfix, sink
