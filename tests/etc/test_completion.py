"""The completions for bash and zsh: exactly the commands and options that there are."""

import importlib.util
import subprocess
from pathlib import Path

from excuse import need

COMPLETION = Path(__file__).parents[2] / "etc/completion"


def rendered() -> dict[str, str]:
    path = COMPLETION / "generate.py"
    spec = importlib.util.spec_from_file_location("generate_completion", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.rendered())


def test_they_are_what_the_command_line_is() -> None:
    for name, text in rendered().items():
        assert (COMPLETION / name).read_text(encoding="utf-8") == text, (
            "the command line has changed: run python etc/completion/generate.py"
        )


def completed(*words: str) -> set[str]:
    program = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _policyd; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", program, "bash", COMPLETION / "policyd.bash", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes() -> None:
    assert completed("policyd", "sus") == {"suspend", "suspensions"}
    assert "explain" in completed("policyd", "")
    assert completed("policyd", "--v") == {"--version"}
    assert completed("policyd", "explain", "--re") == {"--recipients", "--request"}
    assert completed("policyd", "exempt", "cl") == {"client"}
    assert completed("policyd", "state", "re") == {"restore"}
    assert completed("policyd", "state", "dump", "--st") == {"--state"}
    assert completed("policyd", "serve", "--config", f"{COMPLETION}/_pol") == {
        f"{COMPLETION}/_policyd"
    }


def test_zsh_can_read_it() -> None:
    need("zsh", "zsh")
    done = subprocess.run(
        ["zsh", "-n", COMPLETION / "_policyd"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
