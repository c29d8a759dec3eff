"""Commands as they are typed, and what they print."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from policyd.cli.main import main


class Said(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Said]


def run_at(admin: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs a command against the daemon whose socket is *admin*."""
    monkeypatch.setenv("POLICYD_ADMIN", str(admin))
    monkeypatch.delenv("SUDO_USER", raising=False)

    def run(command: str) -> Said:
        try:
            code = main(shlex.split(command))
        except SystemExit as left:
            code = int(left.code or 0)
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return Said(code, told.out, told.err)

    return run
