"""Where policyd may listen: addresses as the command line writes them."""

import argparse
import os
import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TypeAlias

_DEFAULT_MODE = 0o660
_LONGEST_PATH = 107
"""Bytes of a path that a UNIX address has room for."""


class ListenSyntaxError(argparse.ArgumentTypeError, ValueError):
    """A text is no address to listen on.

    Of these two kinds of error *argparse* shows the text of the first only.
    """


@dataclass(frozen=True)
class TcpAddress:
    """A numeric address and a port; port 0 lets the kernel choose one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach the address."""
        return ip_address(self.host).is_loopback

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"


@dataclass(frozen=True)
class UnixAddress:
    """A path and the permissions of the socket made there."""

    path: Path
    mode: int = _DEFAULT_MODE
    is_loopback = True

    def __str__(self) -> str:
        mode = "" if self.mode == _DEFAULT_MODE else f":mode={self.mode:04o}"
        return f"unix:{self.path}{mode}"


ListenAddress: TypeAlias = TcpAddress | UnixAddress


def parse_listen(text: str) -> ListenAddress:
    """Read *text* as `tcp:ADDR:PORT` or `unix:PATH[:mode=0660]`.

    Raises *ListenSyntaxError*, a *ValueError*, with a sentence that names the likely fix.
    """
    kind, _, rest = text.partition(":")
    if kind == "tcp":
        return _parse_tcp(text, rest)
    if kind == "unix":
        return _parse_unix(text, rest)
    fix = "tcp:127.0.0.1:10040 or unix:/run/policyd/policy.sock"
    if text.startswith("/"):
        fix = f"unix:{text}"
    elif kind == "inet":  # Postfix's word for it
        fix = f"tcp:{rest}"
    elif text.isdecimal():
        fix = f"tcp:127.0.0.1:{text}"
    raise ListenSyntaxError(f"{text!r} begins with neither 'tcp:' nor 'unix:'; write {fix}")


def _parse_tcp(text: str, rest: str) -> TcpAddress:
    found = re.fullmatch(r"(\[?)(.*?)(\]?):([0-9]{1,5})", rest)
    if found is None or int(found[4]) > 65535:
        raise ListenSyntaxError(
            f"{text!r} does not end in a port from 1 to 65535; "
            "write tcp:127.0.0.1:10040 or tcp:[::1]:10040"
        )
    try:
        address = ip_address(found[2])
    except ValueError as error:
        raise ListenSyntaxError(
            f"{text!r} has no IP address before the port; write it in numbers: "
            f"tcp:127.0.0.1:{found[4]}, tcp:[::1]:{found[4]}, or tcp:0.0.0.0:{found[4]} for all"
        ) from error
    brackets = ("[", "]") if address.version == 6 else ("", "")
    if (found[1], found[3]) != brackets:
        raise ListenSyntaxError(
            f"{text!r} has an IPv{address.version} address, and brackets are for IPv6; "
            f"write {TcpAddress(str(address), int(found[4]))}"
        )
    return TcpAddress(str(address), int(found[4]))


def _parse_unix(text: str, rest: str) -> UnixAddress:
    path, colon, option = rest.partition(":")
    mode = re.fullmatch("mode=(0?[0-7]{3})", option)
    if colon and mode is None:
        raise ListenSyntaxError(
            f"{text!r} has something other than an octal mode after the path; "
            f"write unix:{path}:mode=0660 (the path itself cannot contain a colon)"
        )
    if not path.startswith("/") or path.endswith("/"):
        raise ListenSyntaxError(
            f"{text!r} is not the whole path of a socket; "
            "begin it with '/', like unix:/run/policyd/policy.sock"
        )
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ListenSyntaxError(
            f"{text!r} has a path longer than the {_LONGEST_PATH} bytes of a UNIX address; "
            "choose a shorter one"
        )
    return UnixAddress(Path(path), int(mode[1], 8) if mode else _DEFAULT_MODE)
