"""What the machine is, without its name."""

import os
import platform
import subprocess
import time
from pathlib import Path

SAYS = (
    "import platform, twisted, policyd;"
    "print(platform.python_version(), twisted.__version__, policyd.__version__)"
)


def described(python: str) -> dict[str, str]:
    """Return what matters of the machine, and of what *python* runs."""
    said = subprocess.run([python, "-c", SAYS], capture_output=True, text=True, check=True)  # noqa: S603
    version, twisted, policyd = said.stdout.split()
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": version,
        "twisted": twisted,
        "policyd": policyd,
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
