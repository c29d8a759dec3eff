"""How long an administrator's command takes to begin, in python3 -c pass: three at most.

To be measured in a plain install, as the finder of an editable one takes longer than all the rest:

    python3 -m venv plain && plain/bin/pip install . && plain/bin/python bench/startup.py
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TIMES = 40
NOBODY = "/nonexistent"


def taken(command: Sequence[str]) -> float:
    """Return how many seconds *command* takes, as a rule."""
    found = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        subprocess.run(command, capture_output=True, check=False)  # noqa: S603
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def main() -> None:
    least = taken([sys.executable, "-c", "pass"])
    print(f"python3 -c pass  {least * 1000:5.1f} ms")
    policyd = str(Path(sys.executable).parent / "policyd")
    for command in ("status", "explain recipient=x@y.example", "suspensions", "tail"):
        took = taken([policyd, *command.split(), "--socket", NOBODY])
        print(f"policyd {command.split()[0]:8} {took * 1000:5.1f} ms, {took / least:.1f} times")


if __name__ == "__main__":
    main()
