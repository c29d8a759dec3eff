"""``policyd doctor``: tell what is wrong between Postfix and the daemon, and the cure."""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from os import defpath, environ, pathsep
from pathlib import Path
from typing import Final

from policyd.cli.admin_client import FailedError, add_command, ask
from policyd.cli.reach import reach
from policyd.cli.tables import bold, number_of, shown
from policyd.doctor.counts import Counts, faults_of, told
from policyd.doctor.fault import Fault, Place, Weight
from policyd.doctor.milters import Milters
from policyd.doctor.postfix import Postfix, Printed, read
from policyd.doctor.wiring import Wiring

_PATIENCE: Final = 10.0
"""Seconds that postconf may take; it looks up host names."""

_PRINTED: Final = {
    "parameters": (),
    "expanded": ("-x",),
    "own": ("-P",),
    "own_expanded": ("-P", "-x"),
    "services": ("-M",),
}
"""What postconf is called with for each part of what is wanted."""

_FAULTS, _NOTHING_ASKED = 1, 3


class _NoPostconfError(Exception):
    """Why Postfix's configuration is not known."""


@dataclass(frozen=True)
class _Daemon:
    """What the daemon says of itself."""

    listening: tuple[str, ...]
    milters: tuple[str, ...]
    notices: tuple[str, int] | None
    counts: Counts


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to *commands*."""
    parser = add_command(
        commands,
        "doctor",
        "say what is wired wrongly between Postfix and policyd",
        "Read Postfix's configuration and the daemon's counts, and say line by line what is wired "
        "wrongly, with the cure. Nothing is changed. Exit with 1 if there is a fault, and with 3 "
        "if neither of the two could be asked.",
        "policyd doctor --postfix-config /etc/postfix",
    )
    parser.add_argument(
        "--postfix-config",
        metavar="DIR",
        help="the directory of main.cf and master.cf (default: Postfix's own)",
    )
    parser.add_argument(
        "--milter",
        metavar="ADDR",
        action="append",
        help="where else policyd takes content, as in serve --milter; repeat for more",
    )
    parser.add_argument("--postconf", metavar="PATH", help="the program postconf")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine; return 1 if there is a fault."""
    faults: list[Fault] = []
    checked: list[str] = []
    daemon = postfix = None
    try:
        daemon = _daemon(args.socket)
        checked.extend(_said(daemon))
    except FailedError as error:
        faults.append(_no_daemon(str(error)))
    try:
        postfix = read(printed(args.postconf, args.postfix_config))
    except _NoPostconfError as error:
        faults.append(_no_postconf(str(error)))
    if postfix is None and daemon is None:
        for fault in faults:
            sys.stderr.write(f"policyd: {shown(fault.what)}\n")
        return _NOTHING_ASKED
    if postfix is not None:
        wiring = _wiring(postfix, daemon)
        listening = (*(args.milter or ()), *(daemon.milters if daemon else ()))
        milters = Milters(wiring.everyone, postfix.main, wiring.queue, map(_real, listening))
        user = postfix.main.value("mail_owner") or "postfix"
        targets = wiring.targets() | milters.targets()
        reached = {one: reach(one, user) for one in targets}
        faults.extend((*wiring.faults(reached), *milters.faults(reached)))
        checked.extend((*wiring.checked(), *milters.checked()))
    if daemon is not None:
        faults.extend(faults_of(daemon.counts))
    faults.sort(key=lambda fault: fault.weight is Weight.HINT)
    if args.json:
        found = {"faults": [asdict(fault) for fault in faults], "checked": checked}
        sys.stdout.write(f"{json.dumps(found)}\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(faults, checked))
    return _FAULTS if any(fault.weight is Weight.FAULT for fault in faults) else 0


def _wiring(postfix: Postfix, daemon: _Daemon | None) -> Wiring:
    # the queue may be a symbolic link, and the daemon know its socket by the other name
    queue = str(Path(postfix.main.value("queue_directory")).resolve())
    if daemon is None:
        return Wiring(postfix, queue)
    return Wiring(postfix, queue, tuple(map(_real, daemon.listening)), daemon.notices)


def _real(listening: str) -> str:
    kind, _, path = listening.partition(":")
    if kind != "unix" or not path.startswith("/"):
        return listening
    return f"unix:{Path(path.partition(':mode=')[0]).resolve()}"


def _daemon(socket: str) -> _Daemon:
    answer = ask(socket, "wiring")
    counts = Counts(**{name: answer[name] for name in Counts.__dataclass_fields__})
    notices = answer["notices"]
    return _Daemon(
        listening=tuple(answer["listening"]),
        milters=tuple(answer["milters"]),
        notices=tuple(notices) if notices else None,
        counts=counts,
    )


def printed(postconf: str | None, directory: str | None) -> Printed:
    """Return what the program *postconf* prints of the configuration in *directory*."""
    program = postconf or _found()
    if program is None:
        raise _NoPostconfError("postconf is not found: name it by --postconf")
    where = ("-c", directory) if directory else ()
    return Printed(**{name: _told(program, *where, *how) for name, how in _PRINTED.items()})


def _found() -> str | None:
    # the system's directories are not in everybody's path
    path = pathsep.join((environ.get("PATH", defpath), "/usr/sbin", "/usr/local/sbin"))
    return shutil.which("postconf", path=path)


def _told(*command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - what the administrator names, with no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _NoPostconfError(f"{command[0]} takes longer than {_PATIENCE:.0f} s") from None
    except OSError as error:
        raise _NoPostconfError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        raise _NoPostconfError(said)
    return done.stdout


def _no_daemon(why: str) -> Fault:
    return Fault(
        "no-daemon",
        (),
        why,
        "What it listens on, and what it has been asked, is not known.",
        Place.SHELL,
        ("systemctl status policyd  # or --socket PATH, the one of serve --admin",),
    )


def _no_postconf(why: str) -> Fault:
    return Fault(
        "no-postconf",
        (),
        f"Postfix's configuration cannot be read: {why}",
        "Only the daemon's counts are looked at.",
        Place.SHELL,
        ("policyd doctor --postconf /usr/sbin/postconf --postfix-config /etc/postfix",),
    )


def _said(daemon: _Daemon) -> Iterator[str]:
    counts = daemon.counts
    yield (
        f"policyd listens on {' and '.join(daemon.listening)}; in {told(counts.up)} it was asked "
        f"about {number_of(counts.rcpt, 'recipient')} and {number_of(counts.end, 'message')}"
    )


def _lines(faults: Sequence[Fault], checked: Sequence[str]) -> Iterator[str]:
    for fault in faults:
        yield from _block(fault)
        yield ""
    if not any(fault.weight is Weight.FAULT for fault in faults):
        yield "No fault. What was checked:"
        yield from (f"  {shown(line)}" for line in checked)
        return
    number = sum(fault.weight is Weight.FAULT for fault in faults)
    yield f"{number} {'fault' if number == 1 else 'faults'}"


def _block(fault: Fault) -> Iterator[str]:
    title = f"{fault.weight}: {fault.code}"
    where = ", ".join(fault.listeners)
    yield bold(shown(f"{title}, {where}" if where else title))
    yield f"  {shown(fault.what)}"
    yield f"  {shown(fault.why)}"
    below = f", below {where}" if where and fault.place is Place.MASTER else ""
    yield "  Do:" if fault.place is Place.SHELL else f"  Write in {fault.place}{shown(below)}:"
    yield from (f"    {shown(line)}" for line in fault.cure)
