import pytest
from faults.life import without_threads

from .form import SEED

__all__ = ["without_threads"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if any("tests/fuzz/" in one.nodeid for one in terminalreporter.stats.get("failed", [])):
        terminalreporter.line(f"POLICYD_FUZZ_SEED={SEED}")
