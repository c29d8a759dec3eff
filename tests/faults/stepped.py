"""The daemon under a clock that can be set: the wall's, and that of no other process.

    python stepped.py FILE [policyd's arguments]

FILE holds by how many seconds the clock is wrong, as eight bytes of a double; it is looked at
whenever the time is asked for.
"""

import mmap
import struct
import sys
import time
from pathlib import Path

from policyd.cli.main import main

_WRONG_BY = struct.Struct("=d")
_right = time.time


def step(path: Path, seconds: float) -> None:
    """Set the clock of the daemon that looks at *path*; also before there is one."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(_WRONG_BY.pack(seconds))


if __name__ == "__main__":
    with Path(sys.argv.pop(1)).open("rb") as file:
        wrong_by = mmap.mmap(file.fileno(), _WRONG_BY.size, prot=mmap.PROT_READ)
    time.time = lambda: _right() + _WRONG_BY.unpack_from(wrong_by)[0]
    sys.exit(main())
