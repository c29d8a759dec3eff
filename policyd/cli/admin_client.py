"""The way of an administrator's command to the daemon and of the answer to the screen."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from policyd.cli.tables import shown

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any, Final, TextIO, TypeAlias

DEFAULT_SOCKET: Final = "/run/policyd/admin.sock"

_PROTOCOL: Final = 1
_PATIENCE: Final = 30.0
"""Seconds that the daemon may take for the next part of an answer: it waits for its disk."""

_PROBLEM, _UNREACHABLE, _NOT_ALLOWED = 1, 3, 5
_EXIT_CODES: Final = {"usage": 2, "busy": _UNREACHABLE, "no-such": 4, "not-allowed": _NOT_ALLOWED}
"""Exit codes by the code of an error; of every other it is 1."""

Answer: TypeAlias = "dict[str, Any]"


class FailedError(Exception):
    """Why there is no answer to show, and the exit code that says so."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _NoReaderError(Exception):
    """Who read what is printed has seen enough."""


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str,
    example: str,
) -> argparse.ArgumentParser:
    """Add the command *name*, with an *example* in its help; return its parser."""
    parser = commands.add_parser(
        name, help=summary, description=description, epilog=f"Example: {example}"
    )
    parser.add_argument(
        "--socket",
        default=os.environ.get("POLICYD_ADMIN") or DEFAULT_SOCKET,
        metavar="PATH",
        help="the daemon's socket (default: $POLICYD_ADMIN, or else " + DEFAULT_SOCKET + ")",
    )
    parser.add_argument("--json", action="store_true", help="print the answer as it came")
    return parser


def run(
    args: argparse.Namespace,
    command: str,
    show: Callable[[Answer], Iterable[str]],
    *,
    is_well: Callable[[Answer], bool] | None = None,
    **fields: str | bool | list[dict[str, str]] | None,
) -> int:
    """Give the *command* to the daemon and print what *show* makes of the answer.

    A field that is None is not sent. Return the exit code; it is 1 as well where *is_well* says so
    of the answer.
    """
    request = {"command": command, **fields, "as": _on_behalf()}
    try:
        line = _asked(args.socket, {n: value for n, value in request.items() if value is not None})
        answer = _parsed(line)
        if args.json:
            sys.stdout.write(line)
        _check(answer)
        if not args.json:
            sys.stdout.writelines(f"{line}\n" for line in show(answer))
        sys.stdout.flush()
        for note in answer.get("notes", ()):
            sys.stderr.write(f"policyd: note: {shown(note)}\n")
    except BrokenPipeError:
        # who read it has seen enough; nothing more is to be written, not even at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PROBLEM
    except FailedError as error:
        sys.stderr.write(f"policyd: {error}\n")
        return error.exit_code
    return _PROBLEM if is_well is not None and not is_well(answer) else 0


def follow(
    args: argparse.Namespace,
    command: str,
    show: Callable[[Answer], str],
    name: str,
    **fields: str | bool | None,
) -> int:
    """Give the *command*, and print its list *name* and what follows until somebody ends it."""
    request = {"command": command, **fields, "as": _on_behalf()}
    asked = {key: value for key, value in request.items() if value is not None}
    try:
        with _connected(args.socket) as connection, _lines(connection) as lines:
            answer = _parsed(_first(connection, lines, asked))
            _check(answer)
            connection.settimeout(None)
            for one in answer[name]:
                _print(args, show, one)
            for line in lines:
                _print(args, show, _parsed(line))
    except KeyboardInterrupt:
        return 0
    except _NoReaderError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PROBLEM
    except FailedError as error:
        sys.stderr.write(f"policyd: {error}\n")
        return error.exit_code
    sys.stderr.write("policyd: the daemon has ended the connection\n")
    return _UNREACHABLE


def _print(args: argparse.Namespace, show: Callable[[Answer], str], one: Answer) -> None:
    try:
        sys.stdout.write(f"{json.dumps(one) if args.json else show(one)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise _NoReaderError from None


def ask(path: str, command: str) -> Answer:
    """Return the answer to a *command* that has no fields; raise FailedError if there is none."""
    answer = _parsed(_asked(path, {"command": command}))
    _check(answer)
    return answer


def _on_behalf() -> str | None:
    """Return who is root at present, if somebody is."""
    return os.environ.get("SUDO_USER") if os.geteuid() == 0 else None


def _asked(path: str, request: Answer) -> str:
    """Return the daemon's answer to *request*: one line of JSON."""
    with _connected(path) as connection, _lines(connection) as lines:
        return _first(connection, lines, request)


@contextmanager
def _connected(path: str) -> Iterator[socket.socket]:
    """Connect to the daemon; whatever stands in the way is told as a failure."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(path)
            yield connection
    except PermissionError:
        message = f"you may not use {path}: join the group policyd-admin, or be root"
        raise FailedError(message, _NOT_ALLOWED) from None
    except TimeoutError:
        message = f"policyd does not answer on {path} (is its disk stuck? see its log)"
        raise FailedError(message, _UNREACHABLE) from None
    except OSError as error:
        message = f"policyd cannot be reached on {path}: {error.strerror or error}; is it running?"
        raise FailedError(message, _UNREACHABLE) from None


def _lines(connection: socket.socket) -> TextIO:
    return connection.makefile("r", encoding="ascii", errors="replace", newline="\n")


def _first(connection: socket.socket, lines: TextIO, request: Answer) -> str:
    """Return the first line of the answer to *request*."""
    greeting = lines.readline()
    hello = _parsed(greeting)
    if hello.get("ok") is False:  # it has no room for one more
        return greeting
    if hello.get("protocol") != _PROTOCOL:
        message = "what answers there is another version of policyd; restart it"
        raise FailedError(message, _UNREACHABLE)
    connection.sendall(f"{json.dumps(request)}\n".encode("ascii"))
    return lines.readline()


def _check(answer: Answer) -> None:
    """Raise what is wrong if *answer* says that something is."""
    if not answer["ok"]:
        error = answer["error"]
        code = _EXIT_CODES.get(error["code"], _PROBLEM)
        raise FailedError(shown(error["message"]), code)


def _parsed(line: str) -> Answer:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        message = "policyd ended the connection without an answer; see its log"
        raise FailedError(message, _UNREACHABLE)
    return answer
