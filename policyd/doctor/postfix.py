"""Postfix's configuration, from what postconf prints.

``postconf -x`` expands a parameter with main.cf's values; a listener may have others (``-o``). So
names are expanded here, listener by listener, and ``-x`` is asked only about what is more than a
name, such as ``${stress?{10}:{300}}``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_NAME: Final = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\}|\((\w+)\))")
_MORE_THAN_A_NAME: Final = re.compile(r"\$(?:\{\w+[?:]|\(\w+[?:]|\{\{)")
_DEEPEST: Final = 20
"""Names within names."""

_PORTS: Final = {"smtp": 25, "submission": 587, "submissions": 465, "smtps": 465, "urd": 465}
_HOST: Final = re.compile(r"\[?(?P<host>[^\[\]]*?)\]?:(?P<port>[^:]+)")


@dataclass(frozen=True)
class Printed:
    """What postconf prints.

    *parameters* and *expanded* are main.cf's without and with -x, *own* and *own_expanded* those of
    -P, *services* is what -M prints.
    """

    parameters: str
    expanded: str
    own: str
    own_expanded: str
    services: str


class Listener:
    """An smtpd in master.cf: its *name* and *kind* there, and the values of its parameters."""

    def __init__(
        self, name: str, kind: str, values: "tuple[Values, Values]", *, chrooted: bool
    ) -> None:
        self.name = name
        self.kind = kind
        self.is_chrooted = chrooted
        self._own, self._main = values
        found = _HOST.fullmatch(name)
        self.host = found["host"] if found else ""
        port = found["port"] if found else name
        self.port = _PORTS.get(port, int(port) if port.isdecimal() else 0)

    @property
    def label(self) -> str:
        """The name for people."""
        if self.kind == "pass":
            return f"{self.name} (25, behind postscreen)"
        if not self.port or str(self.port) in self.name:
            return self.name
        return f"{self.name} ({self.port})"

    @property
    def takes_mail_from_the_world(self) -> bool:
        """Tell whether it is port 25."""
        return self.kind == "pass" or self.port == _PORTS["smtp"]

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        return is_loopback(self.host)

    def has_own(self, name: str) -> bool:
        """Tell whether master.cf gives it a value of *name*."""
        return name in self._own.plain

    def plain(self, name: str) -> str:
        """Return the value of *name* as it is written."""
        values = self._own if self.has_own(name) else self._main
        return values.plain.get(name, "")

    def value(self, name: str, depth: int = 0) -> str:
        """Return the value of *name*, with all names in it expanded."""
        text = self.plain(name)
        if depth == _DEEPEST or _MORE_THAN_A_NAME.search(text):
            values = self._own if self.has_own(name) else self._main
            return values.expanded.get(name, "")
        return self.expand(text, depth)

    def expand(self, text: str, depth: int = 0) -> str:
        """Return *text* with all names in it expanded."""
        return _NAME.sub(lambda found: self._expanded(found, depth), text)

    def _expanded(self, found: re.Match[str], depth: int) -> str:
        name = found[2] or found[3] or found[4]
        return "$" if found[1] else self.value(name, depth + 1)

    def says_yes(self, name: str) -> bool:
        """Tell whether *name* is yes."""
        return self.value(name).lower() == "yes"


@dataclass(frozen=True)
class Values:
    """Parameters by name, *plain* as written and *expanded* by postconf."""

    plain: Mapping[str, str]
    expanded: Mapping[str, str]


@dataclass(frozen=True)
class Postfix:
    """All *listeners* that are smtpds, and *main*, main.cf as one that has no -o would see it."""

    main: Listener
    listeners: tuple[Listener, ...]


def read(printed: Printed) -> Postfix:
    """Return the configuration that postconf has *printed*."""
    main = Values(dict(_pairs(printed.parameters)), dict(_pairs(printed.expanded)))
    own, own_expanded = _by_service(printed.own), _by_service(printed.own_expanded)
    everywhere = Listener("main.cf", "", (Values({}, {}), main), chrooted=False)
    # what "-" in the column means changed with the compatibility level 1
    usual = everywhere.value("compatibility_level").startswith("0")
    listeners = []
    for line in printed.services.splitlines():
        # service type private unpriv chroot wakeup maxproc command ...
        fields = line.split(None, 8)
        if len(fields) < 8 or fields[7] != "smtpd" or fields[1] not in {"inet", "pass"}:
            continue
        key = f"{fields[0]}/{fields[1]}"
        values = Values(own.get(key, {}), own_expanded.get(key, {}))
        chrooted = fields[4] == "y" or (fields[4] == "-" and usual)
        listeners.append(Listener(fields[0], fields[1], (values, main), chrooted=chrooted))
    return Postfix(everywhere, tuple(listeners))


def is_loopback(host: str) -> bool:
    """Tell whether *host* is this machine, and cannot be reached from others."""
    return host.startswith("127.") or host in {"localhost", "::1"}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name.strip(), value.strip()


def _by_service(text: str) -> dict[str, dict[str, str]]:
    """Return the parameters of each service, whose name and type are the key."""
    found: dict[str, dict[str, str]] = {}
    for name, value in _pairs(text):
        service, _, parameter = name.rpartition("/")
        found.setdefault(service, {})[parameter] = value
    return found
