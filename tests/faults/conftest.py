from collections.abc import Callable

import pytest

from .strace import SEED, need_strace

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def strace() -> None:
    need_strace()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Note something measured, told at the end of the run."""
    figures = request.config.stash.setdefault(_FIGURES, [])
    return lambda text: figures.append(f"{request.node.name}: {text}")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if figures := config.stash.get(_FIGURES, []):
        terminalreporter.section(f"faults, POLICYD_FAULTS_SEED={SEED}")
        for line in figures:
            terminalreporter.line(line)
