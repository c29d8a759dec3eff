"""Other policy services, from Debian: unpacked, not installed, and only when asked for."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from bench.building import BUILT
from bench.subjects import Subject, Subjects, free_ports

PACKAGES = (
    *("postfwd", "libnet-server-perl", "libnet-dns-perl", "libnetaddr-ip-perl"),
    *("libio-multiplex-perl", "libdigest-hmac-perl", "libnet-cidr-perl"),
    "policyd-rate-limit",
)
UNPACKED = BUILT / "peers"
PLENTY = 100_000_000


def unpack() -> None:
    """Fetch the packages and take them apart; needs Debian 12's apt."""
    if UNPACKED.exists():
        return
    fetched = BUILT / "packages"
    fetched.mkdir(parents=True, exist_ok=True)
    words = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *PACKAGES]
    subprocess.run(words, cwd=fetched, check=True, timeout=300)  # noqa: S603
    for package in fetched.glob("*.deb"):
        subprocess.run(  # noqa: S603
            ["dpkg-deb", "-x", str(package), str(UNPACKED)],  # noqa: S607
            check=True,
            timeout=60,
        )


def available(make: Subjects) -> list[Subject]:
    """Return the peers that are there; say what is not."""
    if not UNPACKED.exists():
        print("without peers: --peers fetches postfwd and policyd-rate-limit of Debian 12's")
        return []
    return [_postfwd(make), *_rate_limit(make)]


def _postfwd(make: Subjects) -> Subject:
    """Return postfwd 1, which is one process and so the lighter of the two that there are."""
    directory = make.directory("postfwd")
    rules = directory / "postfwd.cf"
    rules.write_text(
        f"id=RATE; sasl_username=~/./; action=rate(sasl_username/{PLENTY}/86400/450 too much)\n",
        encoding="ascii",
    )
    (port,) = free_ports(1)
    pid_file = directory / "pid"
    libraries = ["usr/share/perl5", *_compiled()]
    words = [
        *("perl", "-T", *(f"-I{UNPACKED / path}" for path in libraries)),
        *(str(UNPACKED / "usr/sbin/postfwd1"), "--daemon", "--nodns", "--file", str(rules)),
        *("--interface", "127.0.0.1", "--port", str(port), "--pidfile", str(pid_file)),
        *("--user", "nobody", "--group", "nogroup"),
    ]
    return make.of(Subject("postfwd", words, port, pid_file=pid_file))


def _compiled() -> list[str]:
    found = UNPACKED.glob("usr/lib/*/perl5/5.*")
    return [str(path.relative_to(UNPACKED)) for path in found]


def _rate_limit(make: Subjects) -> list[Subject]:
    python = "/usr/bin/python3"
    needs = [python, "-c", "import yaml"]
    if not Path(python).exists() or subprocess.run(needs, check=False).returncode:  # noqa: S603
        print("without policyd-rate-limit: it needs apt install python3-yaml")
        return []
    directory = make.directory("policyd-rate-limit")
    (port,) = free_ports(1)
    settings = {
        "debug": False,
        "user": "nobody",
        "group": "nogroup",
        "pidfile": str(directory / "pid"),
        "sqlite_config": {"database": str(directory / "db.sqlite3")},
        "SOCKET": ["127.0.0.1", port],
        "limits": [[PLENTY, 86400]],
    }
    shipped = UNPACKED / "etc/policyd-rate-limit.yaml"
    configuration = directory / "policyd-rate-limit.yaml"
    shutil.copy(shipped, configuration)
    with configuration.open("a", encoding="utf-8") as file:  # of a key given twice the last counts
        file.writelines(f"{key}: {json.dumps(value)}\n" for key, value in settings.items())
    words = [python, str(UNPACKED / "usr/bin/policyd-rate-limit"), "--file", str(configuration)]
    environment = {"PYTHONPATH": str(UNPACKED / "usr/lib/python3/dist-packages")}
    return [make.of(Subject("policyd-rate-limit", words, port, environment=environment))]


if __name__ == "__main__":
    unpack()
    sys.stdout.write(f"unpacked in {UNPACKED}\n")
