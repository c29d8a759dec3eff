"""Which core is measured: what the daemon itself says, and not what was meant."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.machine import described
from bench.subjects import Subjects
from policyd import compiled

REPOSITORY = Path(__file__).resolve().parents[2]
OTHER = {"python": "compiled", "compiled": "python"}


def test_the_machine_is_described_with_the_core_of_the_daemon() -> None:
    with Subjects() as make:
        assert described(make)["core"] == compiled.core()


def test_a_policyd_in_the_working_directory_is_not_taken_for_the_one_that_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policyd").mkdir()
    (tmp_path / "policyd/__init__.py").write_text("raise SystemExit('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    program = Path(sys.executable).with_name("policyd")
    with Subjects([str(program)]) as make:
        assert described(make)["core"] == compiled.core()


def test_a_daemon_whose_core_is_not_that_of_its_python_is_not_measured(tmp_path: Path) -> None:
    # as if what is imported beside the daemon were another installation
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho 3.11 26.10 0.1.0 {OTHER[compiled.core()]}\n")
    python.chmod(0o755)
    with Subjects(python=str(python)) as make, pytest.raises(SystemExit, match="core is"):
        described(make)


def test_another_core_than_the_one_that_is_asked_for_is_refused(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "bench", "--core", OTHER[compiled.core()]]
    run = subprocess.run(
        [*words, "--results", str(tmp_path)],
        cwd=REPOSITORY,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 2
    said = f"is {compiled.core()}, not {OTHER[compiled.core()]}"
    assert said in run.stderr
    assert not list(tmp_path.iterdir())
