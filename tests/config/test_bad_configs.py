"""Every mistake has a rule file in bad_configs/ and the exact words that it gets.

``python tests/config/test_bad_configs.py`` writes the words anew; read each of them.
"""

import os
from pathlib import Path

import pytest

from policyd.clock import WallTime
from policyd.config.load import load

DIRECTORY = Path(__file__).parents[1] / "bad_configs"
NOW = WallTime(1_800_000_000)
CASES = sorted(
    path.relative_to(DIRECTORY)
    for path in DIRECTORY.iterdir()
    if path.suffix == ".yaml" or (path.is_dir() and path.name != "lists")
)


def told(path: Path) -> str:
    """Return what is said about the rules at *path*, as ``policyd check`` prints it."""
    loaded = load(path, NOW)
    errors = any(problem.severity.value == "error" for problem in loaded.problems)
    assert errors is (loaded.policy is None)
    return "".join(f"{problem}\n" for problem in loaded.problems)


def expected(path: Path) -> Path:
    return (DIRECTORY / path).with_suffix(".expected")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_bad_config(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DIRECTORY)
    assert told(path) == expected(path).read_text()


if __name__ == "__main__":
    os.chdir(DIRECTORY)
    for case in CASES:
        expected(case).write_text(told(case))
