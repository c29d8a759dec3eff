from collections.abc import Iterator
from pathlib import Path

import pytest
from excuse import unable

from .daemon import Daemon
from .mail_system import MailSystem
from .rules import LEDGER, rule_file
from .servers import Servers, missing, serving

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where the tests cannot be run, let one of them say so for all."""
    ours = [item for item in items if HERE in item.path.parents]
    if missing() and ours:
        spared = ours[1:]
        config.hook.pytest_deselected(items=spared)
        items[:] = [item for item in items if item not in spared]


@pytest.fixture(scope="session")
def mail_servers() -> Iterator[Servers]:
    """Start Postfix with its login service, and the sink, for as long as there are tests."""
    if wanted := missing():
        unable(f"nothing is tested behind a real Postfix; it needs {' and '.join(wanted)}")
    with serving() as servers:
        yield servers


@pytest.fixture
def mail(mail_servers: Servers, tmp_path: Path) -> Iterator[MailSystem]:
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
