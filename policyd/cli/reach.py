"""Whether an address can be reached, as far as can be told without being Postfix's user."""

import pwd
import socket
import stat
from pathlib import Path
from typing import Final

from policyd.doctor.endpoint import Reach, Target

_PATIENCE: Final = 2.0
"""Seconds to wait for a connection."""

_WRITE, _PASS = 0o2, 0o1


def reach(target: Target, user: str) -> Reach:
    """Return what comes of it when *user* connects to *target*."""
    if not target.path:
        return _connected(socket.AF_UNSPEC, target)
    try:
        hindrance = _hindrance(Path(target.path), user)
    except FileNotFoundError:
        hindrance = Reach.MISSING
    except (OSError, KeyError):
        hindrance = Reach.UNKNOWN
    return hindrance or _connected(socket.AF_UNIX, target)


def _hindrance(path: Path, user: str) -> Reach | None:
    """Return what keeps *user* from using the socket at *path*, by the looks of it."""
    if not stat.S_ISSOCK(path.stat().st_mode):
        return Reach.NO_SOCKET
    account = pwd.getpwnam(user)
    # smtpd has no other groups than its user's own
    ways = [(path, _WRITE), *((parent, _PASS) for parent in path.resolve().parents)]
    return None if all(_may(way, wanted, account) for way, wanted in ways) else Reach.FORBIDDEN


def _may(path: Path, wanted: int, account: pwd.struct_passwd) -> bool:
    """Tell whether *account* has the right *wanted* to *path*."""
    found = path.stat()
    shift = 6 if found.st_uid == account.pw_uid else 3 if found.st_gid == account.pw_gid else 0
    return bool(found.st_mode >> shift & wanted)


def _connected(family: int, target: Target) -> Reach:
    try:
        if family == socket.AF_UNIX:
            with socket.socket(family) as connection:
                connection.settimeout(_PATIENCE)
                connection.connect(target.path)
        else:
            socket.create_connection((target.host, target.port), _PATIENCE).close()
    except ConnectionRefusedError:
        return Reach.REFUSED
    except OSError:
        # the doctor may not, or the network does not let it: Postfix may fare better
        return Reach.UNKNOWN
    return Reach.OK
