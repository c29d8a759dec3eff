"""Compile the core, if that is asked for: all else about the package is in setup.cfg.

With POLICYD_COMPILED=1 in the environment, ``pip install .`` hands the modules that decide to
mypyc, which makes C of them as they are; that takes a C compiler and Python's headers, and a minute
or two. The sources are installed beside what is made of them, so that a traceback shows its lines.
Without it nothing is compiled.
"""

import os
import sys
from pathlib import Path
from typing import Any

from setuptools import setup

CORE = (
    "clock.py",
    "oldest_first.py",
    "protocol/parser.py",
    "protocol/re*.py",
    "counting/[!_]*.py",
    "aup/[!_]*.py",
    "service/request_figures.py",
    "service/dialogue.py",
)
BUILDS = {"bdist_wheel", "build_ext", "editable_wheel"}
"""Commands that need what is made of the modules; others only ask what the package is."""


def compiled() -> dict[str, Any]:
    """Return what makes a package with a compiled core of it."""
    # mypyc comes with mypy
    asked: dict[str, Any] = {"setup_requires": ["mypy>=1.11"]}
    if BUILDS.isdisjoint(sys.argv):
        return asked
    from mypyc.build import mypycify  # noqa: PLC0415 - only there when it is asked for

    modules = [name for some in CORE for name in sorted(map(str, Path("policyd").glob(some)))]
    # mypy's settings are for checking, with plugins that compiling does without
    options = ["--config-file=", "--ignore-missing-imports"]
    return {**asked, "ext_modules": mypycify([*options, *modules], opt_level="3", debug_level="0")}


setup(**(compiled() if os.environ.get("POLICYD_COMPILED") == "1" else {}))
