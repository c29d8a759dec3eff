"""What the machine is, without its name, and what runs on it."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench import rules
from bench.subjects import HERE, Subjects

SAYS = (
    "import platform, twisted, policyd, policyd.compiled as compiled;"
    "print(platform.python_version(), twisted.__version__, policyd.__version__, compiled.core())"
)


def described(make: Subjects) -> dict[str, str]:
    """Return what matters of the machine, and of what is measured."""
    # not where the benchmark was called: a policyd there is not the one that is measured
    said = _said([make.python, "-c", SAYS], HERE)
    version, twisted, policyd, imported = said.split()
    core = _core(make)
    if imported != core:  # some parts are measured within a process of theirs
        raise SystemExit(f"the daemon's core is {core}, but {make.python} finds it {imported}")
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": version,
        "twisted": twisted,
        "policyd": policyd,
        "core": core,
    }


def _core(make: Subjects) -> str:
    """Return which core a daemon runs: what it says itself, whatever was meant to be started."""
    subject = make.policyd(rules.shipped())
    with make.running(subject):
        words = [*make.policyd_command, "status", "--json", "--socket", str(subject.admin)]
        status = json.loads(_said(words))
    return str(status["core"])


def _said(words: Sequence[str], directory: Path | None = None) -> str:
    return subprocess.run(  # noqa: S603
        words, capture_output=True, text=True, check=True, cwd=directory
    ).stdout


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
