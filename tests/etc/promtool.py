"""Prometheus's own tool, which says what Prometheus would make of something."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def promtool(*arguments: str | Path, given: bytes = b"") -> str:
    """Run promtool, which must have nothing to complain of; return what it says."""
    if shutil.which("promtool") is None:
        reason = "promtool is not installed (tests/provision, or apt install prometheus)"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        ["promtool", *arguments], input=given, capture_output=True, timeout=60, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said
