"""Runs of the tests beside each other, and benchmarks beside them, have ports of their own."""

import subprocess
import sys
from pathlib import Path

from e2e.ports import FIRST, SHARE, free_ports

PROGRAM = """if True:
    from e2e.ports import free_ports
    print(*(free_ports(1)[0] for _ in range(50)))
    input()
"""


def share(port: int) -> int:
    return (port - FIRST) // SHARE


def test_no_two_runs_take_ports_of_each_other() -> None:
    mine = {share(port) for _ in range(50) for port in free_ports(2)}
    others = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(5)
    ]
    theirs = [{share(int(port)) for port in other.stdout.readline().split()} for other in others]
    for other in others:
        other.communicate("\n", timeout=60)
    taken = [next(iter(one)) for one in (mine, *theirs) if len(one) == 1]
    assert len(taken) == len(set(taken)) == 6
