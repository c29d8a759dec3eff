"""The kinds of values that only a mail policy has: domains, addresses, keys, answers."""

import ipaddress
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from policyd.aup.facts import REQUEST_ATTRIBUTES, VARYING_ATTRIBUTES
from policyd.aup.match import ADDRESS_ATTRIBUTES, ALIASES, RECIPIENT_ATTRIBUTES
from policyd.aup.policy import Action, KeyPart
from policyd.config.kinds import ScalarKind, Schema, suggestion
from policyd.config.names import (
    Flaw,
    address_flaw,
    domain_flaw,
    mailable_flaw,
    plain_domain_flaw,
)
from policyd.config.nodes import Scalar
from policyd.config.problem import RuleError, quoted

SENDER_NAMES: Final = REQUEST_ATTRIBUTES | {"account", "domain", *ALIASES}
"""What a rule may look at on the sender's side."""
KEY_NAMES: Final = SENDER_NAMES | RECIPIENT_ATTRIBUTES | {"likeness"}

_VERBS: Final = ("REJECT", "DEFER", "HOLD", "WARN")
_PASSES: Final = "it would let the mail pass unchecked; to only log, use mode: observe"
_NO_VERBS: Final = {
    "OK": _PASSES,
    "PERMIT": _PASSES,
    "ACCEPT": _PASSES,
    "DUNNO": _PASSES,
    "DISCARD": "it would drop mail that the sender takes for sent; use REJECT",
    "DEFER_IF_PERMIT": "use DEFER",
    "DEFER_IF_REJECT": "use DEFER",
    "BLOCK": "use REJECT",
    "REDIRECT": "it would send mail to somebody else; use HOLD",
    "FILTER": "a limit cannot reroute mail; use HOLD",
    "PREPEND": "a limit cannot change mail; use WARN",
    "BCC": "a limit cannot copy mail; use WARN",
    "INFO": "use WARN",
}


class Named(ScalarKind[str]):
    """A name that must be free of the flaws that *flaw* finds."""

    def __init__(self, noun: str, example: str, flaw: Callable[[str], Flaw | None]) -> None:
        self.noun = noun
        self.example = example
        self._flaw = flaw

    def parse(self, scalar: Scalar) -> str:
        """Return the name as it was written."""
        if flaw := self._flaw(scalar.text):
            raise RuleError(scalar.place, flaw.message, flaw.hint)
        return scalar.text

    def schema(self) -> Schema:
        """Return the schema of a name."""
        return {"type": "string"}


def _web_flaw(text: str) -> Flaw | None:
    if re.fullmatch(r"https?://[^\s/]+\S*", text):
        return None
    return Flaw(f"{quoted(text)} is no web address", "write one such as https://mail.example/aup")


def _hook_flaw(text: str) -> Flaw | None:
    if flaw := _web_flaw(text):
        return Flaw(flaw.message, "write one such as http://127.0.0.1:8080/policyd")
    try:
        parts = urlsplit(text)
        if text.isascii() and parts.hostname and parts.port != 0:
            return None
    except ValueError:
        pass
    return Flaw(f"{quoted(text)} cannot be reached", "check its host, in ASCII, and its port")


def _notice_flaw(text: str) -> Flaw | None:
    address = text.replace("{domain}", "mail.example")
    if found := re.search(r"\{[^}]*\}?", address):
        return Flaw(f"unknown placeholder {quoted(found.group())}", "{domain} is the only one here")
    return mailable_flaw(address)


DOMAIN: Final = Named("a domain", "mail.example", domain_flaw)
ADDRESS: Final = Named("a mail address", "abuse@mail.example", address_flaw)
WEB_ADDRESS: Final = Named("a web address", "https://mail.example/aup", _web_flaw)
PLAIN_DOMAIN: Final = Named("a domain", "mail.example", plain_domain_flaw)
HOOK_ADDRESS: Final = Named("a web address", "http://127.0.0.1:8080/policyd", _hook_flaw)
NOTICE_ADDRESS: Final = Named("a mail address", '"postmaster@{domain}"', _notice_flaw)
MAILABLE: Final = Named("a mail address", "postmaster@mail.example", mailable_flaw)


class Server(ScalarKind[tuple[str, int]]):
    """A host, or its IP address, and a port."""

    def __init__(self) -> None:
        self.noun = "a host and port"
        self.example = "127.0.0.1:10025"

    def parse(self, scalar: Scalar) -> tuple[str, int]:
        """Return the host, an IPv6 address without its brackets, and the port."""
        text = scalar.text
        host, _, port = text.rpartition(":")
        if re.fullmatch("[1-9][0-9]{0,4}", port) and int(port) < 2**16:
            if re.fullmatch("[A-Za-z0-9.-]+", host):
                return host, int(port)
            if host.startswith("[") and host.endswith("]") and _is_ipv6(host[1:-1]):
                return host[1:-1], int(port)
        message = f"{quoted(text)} is no host:port"
        raise RuleError(scalar.place, message, f"write one such as {self.example}")

    def schema(self) -> Schema:
        """Return the schema of a host and port."""
        return {"type": "string", "pattern": r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[1-9][0-9]*$"}


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


class Extension(ScalarKind[str]):
    """The character that begins an address extension."""

    def __init__(self) -> None:
        self.noun = "a character"
        self.example = '"+"'

    def parse(self, scalar: Scalar) -> str:
        """Return the character, or the empty text for none."""
        if re.fullmatch("[!-/:-?\\[-`{-~]?", scalar.text):
            return scalar.text
        message = f"{quoted(scalar.text)} cannot begin an address extension"
        raise RuleError(scalar.place, message, 'write one character, such as "+"')

    def schema(self) -> Schema:
        """Return the schema of a character."""
        return {"type": "string", "maxLength": 1}


class Attribute(ScalarKind[str]):
    """A request attribute that all requests of a transaction say alike."""

    def __init__(self) -> None:
        self.noun = "a request attribute"
        self.example = "sasl_username"

    def parse(self, scalar: Scalar) -> str:
        """Return the name of the attribute."""
        if scalar.text in REQUEST_ATTRIBUTES:
            return scalar.text
        if scalar.text in VARYING_ATTRIBUTES:
            message = f"{scalar.text} changes from message to message and names no sender"
            raise RuleError(scalar.place, message, f"write {self.example}")
        message = f"{quoted(scalar.text)} is no attribute that names a sender"
        raise RuleError(scalar.place, message, suggestion(scalar.text, REQUEST_ATTRIBUTES))

    def schema(self) -> Schema:
        """Return the schema of the names."""
        return {"enum": sorted(REQUEST_ATTRIBUTES)}


class KeyName(ScalarKind[KeyPart]):
    """A name under ``per``, an IP address with the prefixes that it is cut to."""

    def __init__(self) -> None:
        self.noun = "a name to count by"
        self.example = "account"

    def parse(self, scalar: Scalar) -> KeyPart:
        """Return the part of the key: ``/N`` up to 32 is for IPv4 with IPv6 by /64, more for IPv6.

        ``/24/56`` gives both.
        """
        written, slash, prefixes = scalar.text.partition("/")
        name = ALIASES.get(written, written)
        if name in VARYING_ATTRIBUTES:
            message = f"{quoted(name)} changes within one message, so nothing adds up under it"
            raise RuleError(scalar.place, message, "count per account or another sender's name")
        if written not in KEY_NAMES:
            message = f"nothing is counted by {quoted(written)}"
            raise RuleError(scalar.place, message, suggestion(written, KEY_NAMES))
        if not slash:
            return KeyPart(name)
        if name not in ADDRESS_ATTRIBUTES:
            hint = f"write {written}; client_address and server_address take one"
            raise RuleError(scalar.place, f"{quoted(written)} takes no network prefix", hint)
        found = re.fullmatch("([1-9][0-9]{0,2})(?:/([1-9][0-9]{0,2}))?", prefixes)
        if found and found[2] and int(found[1]) <= 32 and int(found[2]) <= 128:
            return KeyPart(name, int(found[1]), int(found[2]))
        if found and not found[2] and int(found[1]) <= 128:
            prefix = int(found[1])
            return KeyPart(name, prefix, 64) if prefix <= 32 else KeyPart(name, 32, prefix)
        message = f"{quoted('/' + prefixes)} is no network prefix"
        hint = f"write {written}/24 (IPv4), {written}/64 (IPv6) or {written}/24/64 (both)"
        raise RuleError(scalar.place, message, hint)

    def schema(self) -> Schema:
        """Return the schema of the names, and of addresses with prefixes."""
        addresses = "|".join(sorted({"client", *ADDRESS_ATTRIBUTES}))
        pattern = f"^({addresses})(/[1-9][0-9]{{0,2}}){{1,2}}$"
        return {"anyOf": [{"enum": sorted(KEY_NAMES)}, {"type": "string", "pattern": pattern}]}


class ActionKind(ScalarKind[Action]):
    """A verb for Postfix or a reply code of the classes 4 and 5, with its usual status."""

    def __init__(self) -> None:
        self.noun = "an action"
        self.example = "REJECT"

    def parse(self, scalar: Scalar) -> Action:
        """Return the action."""
        text = scalar.text
        if text in _VERBS:
            return Action(text, {"REJECT": "5.7.1", "DEFER": "4.7.1"}.get(text, ""))
        if re.fullmatch("[0-9]{3}", text):
            if text[0] in "45":
                return Action(text, f"{text[0]}.7.1")
            message = f"the code {text} does not refuse the mail"
            raise RuleError(scalar.place, message, "write a code from 400 to 599, such as 452")
        message = f"{quoted(text)} is no action of a limit"
        if text.upper() in _VERBS:
            hint = f"write {text.upper()}"
        else:
            hint = _NO_VERBS.get(text.upper()) or f"write {', '.join(_VERBS)} or a code such as 452"
        raise RuleError(scalar.place, message, hint)

    def schema(self) -> Schema:
        """Return the schema of verbs and codes."""
        return {
            "anyOf": [{"enum": list(_VERBS)}, {"type": "integer", "minimum": 400, "maximum": 599}]
        }
