"""Port numbers for one run."""

import random
import socket
from pathlib import Path

FIRST, LAST = 12000, 32000


def free_ports(count: int) -> list[int]:
    """Return *count* free neighbouring ports on loopback.

    They lie below the range that the kernel gives to outgoing connections: else a connection
    could take the daemon's port while the daemon is down, or even connect to itself there.
    """
    outgoing = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    last = min(LAST, int(outgoing.split()[0])) - count
    if last <= FIRST:
        message = f"no room for {count} ports between {FIRST} and the outgoing ones"
        raise RuntimeError(message)
    for _ in range(100):
        base = random.randrange(FIRST, last)
        ports = list(range(base, base + count))
        if all(_is_free(port) for port in ports):
            return ports
    message = f"found no {count} free neighbouring ports"
    raise RuntimeError(message)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
