"""Port numbers for one run, which no other run on this machine makes use of."""

import random
import socket
from functools import cache
from pathlib import Path

FIRST, LAST = 12000, 32000
SHARE = 1000
"""Ports for one run."""


def free_ports(count: int) -> list[int]:
    """Return *count* free neighbouring ports on loopback.

    They lie below the range that the kernel gives to outgoing connections: else a connection
    could take the daemon's port while the daemon is down, or even connect to itself there.
    """
    first, _ = _share()
    for _ in range(100):
        base = random.randrange(first, first + SHARE - count)
        ports = list(range(base, base + count))
        if all(_is_free(port) for port in ports):
            return ports
    message = f"found no {count} free neighbouring ports"
    raise RuntimeError(message)


@cache
def _share() -> tuple[int, socket.socket]:
    """Return the first of the ports of this run, and what keeps all others from these.

    Else another run could take the daemon's port while the daemon is down.
    """
    outgoing = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    shares = range(FIRST, min(LAST, int(outgoing.split()[0])) - SHARE + 1, SHARE)
    for first in random.sample(shares, len(shares)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0policyd tests {first}")  # it goes with this process
        except OSError:
            claim.close()
        else:
            return first, claim
    message = f"no {SHARE} ports between {FIRST} and the outgoing ones are left by other runs"
    raise RuntimeError(message)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
