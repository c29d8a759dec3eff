"""Prometheus's own tool, which says what Prometheus would make of something."""

import subprocess
from pathlib import Path

from excuse import need


def promtool(*arguments: str | Path, given: bytes = b"") -> str:
    """Run promtool, which must have nothing to complain of; return what it says."""
    need("promtool", "prometheus")
    done = subprocess.run(
        ["promtool", *arguments], input=given, capture_output=True, timeout=60, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said
