import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from excuse import unable

from .daemon import Daemon
from .dovecot import Dovecot
from .mail_system import MailSystem
from .ports import free_ports
from .postfix import PrivatePostfix
from .postfix_conf import PORTS
from .programs import find
from .rules import LEDGER, LOGINS, rule_file
from .sink import Sink

HERE = Path(__file__).parent
PROGRAMS = {"postfix": "postfix", "dovecot": "dovecot-core", "openssl": "openssl"}


def missing() -> list[str]:
    """Return what these tests need and do not find."""
    packages = [package for name, package in PROGRAMS.items() if not find(name)]
    wanted = [f"apt install {' '.join(packages)}"] if packages else []
    if os.geteuid() != 0:
        wanted.append("root, as Postfix does not start otherwise")
    return wanted


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where the tests cannot be run, let one of them say so for all."""
    ours = [item for item in items if HERE in item.path.parents]
    if missing() and ours:
        spared = ours[1:]
        config.hook.pytest_deselected(items=spared)
        items[:] = [item for item in items if item not in spared]


@pytest.fixture(scope="session")
def mail_servers() -> Iterator[tuple[PrivatePostfix, Sink]]:
    """Start Postfix with its login service, and the sink, for as long as there are tests."""
    if wanted := missing():
        unable(f"nothing is tested behind a real Postfix; it needs {' and '.join(wanted)}")
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    # not pytest's own directory: Postfix must be able to pass through all of it
    directory = Path(tempfile.mkdtemp(prefix="policyd-e2e-"))
    directory.chmod(0o755)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        sink = Sink(ports["sink"])
        undo.callback(sink.close)
        postfix = PrivatePostfix(directory, ports)
        undo.callback(postfix.stop)
        postfix.start()
        dovecot = Dovecot(directory / "dovecot", postfix.login_socket, LOGINS)
        undo.callback(dovecot.stop)
        dovecot.start()
        yield postfix, sink


@pytest.fixture
def mail(mail_servers: tuple[PrivatePostfix, Sink], tmp_path: Path) -> Iterator[MailSystem]:
    """The mail system for one test: nothing on its way, nothing delivered, no policyd yet."""
    system = MailSystem(*mail_servers, tmp_path)
    yield system
    try:
        system.close()
    finally:
        print(*system.transcript(), sep="\n")


@pytest.fixture
def daemon(mail: MailSystem) -> Daemon:
    """A daemon that counts everything and refuses nothing."""
    return mail.policyd(rule_file(LEDGER))
