from collections.abc import Iterator
from pathlib import Path

import pytest

from .flooded import Figure, Flooded
from .strace import SEED, need_strace

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def strace() -> None:
    need_strace()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Note something measured, told at the end of the run."""
    figures = request.config.stash.setdefault(_FIGURES, [])
    return lambda text: figures.append(f"{request.node.name}: {text}")


@pytest.fixture
def flooded(tmp_path: Path) -> Iterator[Flooded]:
    """A daemon under a flood, with the usual rules."""
    flooded = Flooded(tmp_path)
    flooded.start()
    yield flooded
    flooded.close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if figures := config.stash.get(_FIGURES, []):
        terminalreporter.section(f"faults, POLICYD_FAULTS_SEED={SEED}")
        for line in figures:
            terminalreporter.line(line)
