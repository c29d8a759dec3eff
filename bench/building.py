"""The programs in C, built when they are wanted and older than what they are made of."""

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE / "build"
FLAGS = "-std=c11 -O2 -Wall -Wextra -Werror".split()


def load() -> Path:
    """Return the load generator."""
    return _built("load", "load.c", "transaction.c", "latency.c")


def responder() -> Path:
    """Return the responder."""
    return _built("responder", "responder.c")


def _built(name: str, *sources: str) -> Path:
    compiler = os.environ.get("CC") or shutil.which("cc")
    program = BUILT / name
    newest = max(path.stat().st_mtime for path in HERE.glob("*.[ch]"))
    if program.exists() and program.stat().st_mtime > newest:
        return program
    if not compiler:
        raise SystemExit("the benchmark needs a C compiler: apt install gcc libc6-dev")
    BUILT.mkdir(exist_ok=True)
    fresh = BUILT / f"{name}.{os.getpid()}"
    words = [compiler, *FLAGS, "-o", str(fresh), *(str(HERE / source) for source in sources)]
    subprocess.run([*words, "-lm"], check=True)  # noqa: S603
    fresh.replace(program)
    return program
