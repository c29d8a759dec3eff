"""A disk of a few megabytes that can be full, or not be written to."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from excuse import unable

_SIZE: Final = "4m"
_BLOCK: Final = 65536


class SmallDisk:
    """The disk on *path*, as long as it is mounted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._filler.open("ab", buffering=0) as file:
            size = _BLOCK
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    def make_room(self) -> None:
        self._filler.unlink()

    def be_read_only(self, yes: bool) -> None:
        """Refuse whatever is to be written; nobody may have a file open for that."""
        how = "remount,ro" if yes else "remount,rw"
        subprocess.run(["mount", "-o", how, self._path], check=True)


@contextmanager
def mounted(path: Path) -> Iterator[SmallDisk]:
    """Mount a small disk on the directory *path*."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0700", "tmpfs", path]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        unable(f"nothing can be mounted: {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
