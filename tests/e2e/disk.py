"""How slow the disk is right now: what is to be kept cannot be kept faster."""

import os
import threading
import time
from pathlib import Path
from typing import Self

PAUSE = 0.05


class Disk:
    """Within a `with`, writes a little into *directory* again and again, as a journal does."""

    def __init__(self, directory: Path) -> None:
        self.slowest = 0.0
        """Seconds that a write took at most, so far."""
        self._path = directory / "disk"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        with self._path.open("wb", buffering=0) as file:
            began = time.monotonic()
            while not self._over.wait(PAUSE):
                file.write(bytes(4096))
                os.fsync(file.fileno())
                # with the pause: a machine that is busy is slow as well
                now = time.monotonic()
                self.slowest = max(self.slowest, now - began - PAUSE)
                began = now
