"""The programs that the tests run, which are not in everybody's path."""

import os
import shutil

SYSTEM_DIRECTORIES = ("/usr/sbin", "/sbin")


def find(name: str) -> str | None:
    """Return the path of a program."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_DIRECTORIES])
    return shutil.which(name, path=path)


def program(name: str) -> str:
    """Return the path of a program that has to be there."""
    path = find(name)
    if not path:
        message = f"{name} is not installed"
        raise FileNotFoundError(message)
    return path
