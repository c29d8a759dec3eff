"""The longest turns of the reactor, by bench/stalls.py."""

import json
import subprocess
import tempfile
from pathlib import Path

from bench.context import Bench, Figures
from bench.subjects import core

STALLS = Path(__file__).resolve().parents[1] / "stalls.py"


def run(bench: Bench) -> Figures:
    """Return what it found."""
    with tempfile.NamedTemporaryFile(suffix=".json") as found:
        words = [*core(0), bench.make.python, str(STALLS), "--json", found.name]
        words += ["--accounts", str(bench.scale.million)]
        words += ["--seconds", str(bench.scale.seconds * 10)]
        subprocess.run(words, check=True, timeout=1800)  # noqa: S603
        figures: Figures = json.loads(Path(found.name).read_text(encoding="ascii"))
    return figures
