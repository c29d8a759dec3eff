"""What reads mail logs on many hosts: fail2ban, pflogsumm and logwatch, as Debian ships them."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from excuse import unable

TOOLS = Path("/usr/local/lib/policyd-tests/log-tools")
"""Where tests/provision unpacks them; they are not installed."""

ETC = Path(__file__).parents[2] / "etc"


def fail2ban(log: Path, name: str, *ours: str, directory: Path) -> list[str]:
    """Return the lines of *log* that the filter *name* holds against somebody.

    *ours* are files of our etc/fail2ban/filter.d that are installed; *directory* is theirs alone.
    """
    if not directory.exists():
        shutil.copytree(there() / "etc/fail2ban", directory)
    for path in ours:
        shutil.copy(ETC / "fail2ban/filter.d" / path, directory / "filter.d")
    program = TOOLS / "usr/bin/fail2ban-regex"
    words = [sys.executable, program, "-c", directory, "-o", "<ip> <matches>", log, name]
    environ = os.environ | {"PYTHONPATH": str(TOOLS / "usr/lib/python3/dist-packages")}
    return _said(words, environ).splitlines()


def pflogsumm(log: Path, *options: str) -> str:
    """Return the report of pflogsumm on *log*."""
    return _said(["perl", there() / "usr/sbin/pflogsumm", *options, log])


def logwatch(logs: Path, service: str, *, directory: Path, detail: str = "High") -> str:
    """Return what logwatch reports of today's lines in *logs*/mail.log about *service*.

    Our configuration is installed, in the new *directory*.
    """
    shutil.copytree(ETC / "logwatch", directory, dirs_exist_ok=True)
    base = there() / "usr/share/logwatch"
    source = (base / "scripts/logwatch.pl").read_text(encoding="utf-8")
    for name, path in (("BaseDir", base), ("ConfigDir", directory)):
        source, count = re.subn(rf'(?m)^(my \${name} = )"[^"]*"', rf'\1"{path}"', source)
        assert count == 1
    program = directory / "logwatch.pl"
    program.write_text(source, encoding="utf-8")
    words = f"--service {service} --range today --detail {detail} --output stdout --format text"
    environ = os.environ | {"TMPDIR": str(directory)}
    return _said(["perl", program, *words.split(), "--logdir", logs], environ)


def there() -> Path:
    """Return where the tools are unpacked."""
    if not TOOLS.is_dir():
        unable("fail2ban, pflogsumm and logwatch are not there (tests/provision, as root)")
    return TOOLS


def _said(words: Sequence[str | Path], environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words, env=environ, capture_output=True, timeout=60, check=False, errors="backslashreplace"
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout
