"""The command line as a whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from policyd import __version__
from policyd.cli.main import main
from policyd.compiled import core
from policyd.config.schema import json_schema

SAMPLE = Path(__file__).parents[2] / "etc/policyd/policy.yaml"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"policyd {__version__}, core {core()}\n"


@pytest.mark.parametrize("argv", [[], ["check"], ["serve"], ["chekc", "x"], ["check", "a", "b"]])
def test_what_cannot_be_understood(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: policyd")


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert all(f"    {command} " in told for command in ("serve", "check", "schema"))


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_the_shipped_schema_is_its_output(capsys: pytest.CaptureFixture[str]) -> None:
    main(["schema"])
    assert (SAMPLE.parent / "policy.schema.json").read_text() == capsys.readouterr().out


def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_module_is_the_command() -> None:
    done = run("-m", "policyd", "check", str(SAMPLE))
    assert (done.returncode, done.stderr) == (0, "")
    assert "limits: 6" in done.stdout


def test_a_terminal_that_knows_only_ascii(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    text = SAMPLE.read_text().replace("Example Mail", "Mailhaus Žižkov")
    path.write_text(text, encoding="utf-8")
    done = run("-m", "policyd", "check", str(path), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Mailhaus \\u017di\\u017ekov" in done.stdout


def test_checking_imports_no_twisted() -> None:
    program = (
        "import sys; from policyd.cli.main import main; "
        f"main(['check', {str(SAMPLE)!r}]); "
        "sys.exit(any(name.partition('.')[0] == 'twisted' for name in sys.modules))"
    )
    assert run("-c", program).returncode == 0
