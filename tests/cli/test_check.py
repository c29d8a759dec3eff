"""``policyd check``: exit codes, and what goes where."""

from pathlib import Path

import pytest

from policyd.cli.main import main

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "etc/policyd/policy.yaml"


def test_right_rules_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SAMPLE)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    lines = told.out.splitlines()
    assert lines[0] == "mode: observe: what would be refused is logged, all mail passes"
    assert "limits: 6" in lines
    assert lines[-1] == "state: /var/lib/policyd, at most 5000000 keys a limit and 4GB of memory"


def test_mistakes_go_to_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "tests/bad_configs")
    assert main(["check", "several-mistakes.yaml"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    expected = Path("several-mistakes.expected").read_text()
    assert told.err == f"{expected}10 mistakes\n"


def test_one_mistake_is_counted_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "/no/such/file"]) == 1
    assert capsys.readouterr().err == (
        "/no/such/file: cannot be read: No such file or directory; check the name\n1 mistake\n"
    )


def test_warnings_alone_are_no_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "tests/bad_configs")
    assert main(["check", "text-incident.yaml"]) == 0
    told = capsys.readouterr()
    assert told.err == Path("text-incident.expected").read_text()
    assert told.out.startswith("mode: ")


def test_what_is_over_is_pointed_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "tests/bad_configs")
    assert main(["check", "until-past.yaml"]) == 0
    assert "2020-12-31 is over" in capsys.readouterr().err


def test_a_directory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\n")
    (tmp_path / "b.yaml").write_text(
        "limits:\n  - {id: daily, per: account, count: messages, max: 9, window: 1h}\n"
    )
    assert main(["check", str(tmp_path)]) == 0
    assert "limits: 1" in capsys.readouterr().out
