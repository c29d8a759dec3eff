"""What the core is: compiled or plain Python."""

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from policyd import compiled
from policyd.aup import engine


def test_it_is_what_is_to_be_tested() -> None:
    assert compiled.core() == os.environ.get("POLICYD_CORE", "python")


def test_it_is_what_was_imported() -> None:
    is_plain = str(engine.__file__).endswith(".py")
    assert compiled.core() == ("python" if is_plain else "compiled")


def test_nothing_of_it_is_imported_to_tell() -> None:
    program = """if True:
        import sys
        from policyd.compiled import core
        said = core()
        assert not [name for name in sys.modules if name.startswith("policyd.aup")]
        import policyd.aup.engine
        assert core() == said
        print(said)
    """
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == f"{compiled.core()}\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([f"engine{EXTENSION_SUFFIXES[0]}", "engine.py"], "compiled"),
        (["engine.py"], "python"),
        ([], "python"),
    ],
)
def test_what_is_made_of_a_module_goes_before_it(
    files: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aup").mkdir()
    for file in files:
        (tmp_path / "aup" / file).touch()
    monkeypatch.delitem(sys.modules, "policyd.aup.engine")
    monkeypatch.setattr("policyd.__path__", [str(tmp_path)])
    assert compiled.core() == said
