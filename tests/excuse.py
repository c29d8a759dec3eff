"""When a test cannot be run on this machine."""

import os
import shutil
from typing import NoReturn

import pytest


def unable(reason: str) -> NoReturn:
    """Skip the test, because a developer's machine need not have everything; CI's has to."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def need(program: str, package: str) -> None:
    """Skip the test where there is no *program*, which comes with Debian's *package*."""
    if shutil.which(program) is None:
        unable(f"{program} is not installed (tests/provision, or apt install {package})")
