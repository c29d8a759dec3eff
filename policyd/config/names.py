"""Domains and addresses as an administrator writes them: what is none, and the likely fix."""

import ipaddress
import re
from typing import Final, NamedTuple

from policyd.aup.address import fold_domain, split_address
from policyd.config.problem import quoted

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`|~-]+"
_MAILABLE: Final = re.compile(rf"(?=.{{1,64}}@){_ATOM}(?:\.{_ATOM})*@[a-z0-9](?:.*[a-z0-9])?")
"""Addresses that need no quotes, and are not at an IP address (RFC 5322)."""
_LONGEST_DOMAIN: Final = 253
_LONGEST_ADDRESS: Final = 512


class Flaw(NamedTuple):
    """What is wrong with a name, and the likely fix."""

    message: str
    hint: str


def domain_flaw(text: str) -> Flaw | None:
    """Return what makes *text* no domain; a leading dot stands for the subdomains as well."""
    if found := re.match(r"\w+://([^/:]+)", text):
        return Flaw(f"{quoted(text)} is a web address", f"write {found.group(1)}")
    if "@" in text:
        return Flaw(f"{quoted(text)} is a mail address", f"write {split_address(text)[1]}")
    if text.startswith("*."):
        return Flaw(f"{quoted(text)} is no domain", f"write {text[1:]} for all its subdomains")
    if not _is_domain(text.removeprefix(".")):
        return Flaw(f"{quoted(text)} is no domain", "write a name such as mail.example")
    return None


def plain_domain_flaw(text: str) -> Flaw | None:
    """Return what makes *text* no single domain: here a leading dot has no meaning."""
    if text.startswith(".") and not domain_flaw(text):
        message = f"{quoted(text)} begins with a dot, and subdomains are not included here"
        return Flaw(message, "write each domain, without a dot before it")
    return domain_flaw(text)


def account_flaw(text: str) -> Flaw | None:
    """Return what makes *text* no account: a login, with or without a domain."""
    local, domain = split_address(text)
    if domain and not local:
        return Flaw(f"{quoted(text)} is no account", f"list the domain {domain} in a domains_file")
    if not local or len(text) > _LONGEST_ADDRESS or ("@" in text and not _is_domain(domain)):
        return Flaw(f"{quoted(text)} is no account", "write a login such as alice@mail.example")
    return None


def address_flaw(text: str) -> Flaw | None:
    """Return what makes *text* no complete mail address."""
    local, domain = split_address(text)
    if not local or re.search(r"\s", text) or not _is_domain(domain):
        hint = "write an address such as postmaster@mail.example"
        return Flaw(f"{quoted(text)} is no mail address", hint)
    return None


def mailable_flaw(text: str) -> Flaw | None:
    """Return what makes *text* no address that mail can be sent to by plain SMTP."""
    if text.count("@") > 1 and (parts := re.split(r"[\s,;]+", text))[1:]:
        return Flaw(f"{quoted(text)} are several addresses", f"write a list: [{', '.join(parts)}]")
    if flaw := address_flaw(text):
        return flaw
    local, domain = split_address(text)
    if not _MAILABLE.fullmatch(f"{local}@{fold_domain(domain)}"):
        message = f"{quoted(text)} is no address for a notice"
        return Flaw(message, "write one in ASCII, such as postmaster@mail.example")
    return None


def _is_domain(text: str) -> bool:
    if len(text) > _LONGEST_DOMAIN:
        return False
    if text.startswith("[") and text.endswith("]"):
        try:
            ipaddress.ip_address(text[1:-1].removeprefix("IPv6:"))
        except ValueError:
            return False
        return True
    return bool(_DOMAIN.fullmatch(fold_domain(text)))
