"""Conditions, checked and compiled: ``match``, ``unless``, overrides and exemptions."""

import re
from collections.abc import Iterator
from typing import Final

from policyd.aup.address import Accounts, LocalDomains, split_address
from policyd.aup.match import ADDRESS_ATTRIBUTES, Condition, condition, condition_in
from policyd.config.grammar import ACCOUNTS_FILE, CONDITIONS, DOMAINS_FILE
from policyd.config.kinds import Placed
from policyd.config.lists import NamedFiles
from policyd.config.names import Flaw, account_flaw, domain_flaw
from policyd.config.problem import Problems, RuleError, quoted
from policyd.config.tables import Record

_DOMAINS: Final = frozenset(("domain", "recipient_domain"))
_ADDRESSES: Final = frozenset(("account", "sender", "recipient"))
_NETWORKS: Final = ADDRESS_ATTRIBUTES | {"client"}


def conditions(record: Record, accounts: Accounts, problems: Problems) -> Iterator[Condition]:
    """Yield the conditions that *record* names by attribute."""
    for key in CONDITIONS:
        if (values := record.get(key)) is None:
            continue
        right = []
        for value in values:
            try:
                _check(key.name, value, accounts)
            except RuleError as error:
                problems.add(error)
            else:
                right.append(value.value)
        yield condition(key.name, right, accounts)


def listed(record: Record, accounts: Accounts, files: NamedFiles) -> Iterator[Condition]:
    """Yield the conditions that *record* keeps in files of their own."""
    if file := record.get(ACCOUNTS_FILE):
        yield condition_in("account", files.entries(file, account_flaw), accounts, file.value)
    if file := record.get(DOMAINS_FILE):
        domains = LocalDomains(files.entries(file, domain_flaw))
        yield Condition("domain", domains.__contains__, f"listed in {file.value}")


def _check(attribute: str, value: Placed[str], accounts: Accounts) -> None:
    """Raise RuleError for a value that does not compile, or that nothing can ever equal."""
    text = value.value
    is_pattern = len(text) > 1 and text.startswith("/") and text.endswith("/")
    if not is_pattern and text and (flaw := _flaw(attribute, text)):
        raise RuleError(value.place, flaw.message, flaw.hint)
    try:
        condition(attribute, (text,), accounts)
    except ValueError as error:
        message, _, hint = str(error).partition("; ")
        usual = (
            "check its brackets and backslashes" if is_pattern else "write one such as 192.0.2.0/24"
        )
        raise RuleError(value.place, message, hint or usual) from None


def _flaw(attribute: str, text: str) -> Flaw | None:
    if found := re.fullmatch("(/.+/)[imsux]+", text):
        message = f"{quoted(text)} has letters after its last slash"
        return Flaw(message, f"write {found[1]}; case never matters")
    if attribute in _NETWORKS:
        return None
    if attribute in _DOMAINS:
        return domain_flaw(text)
    if attribute in _ADDRESSES:
        local, domain = split_address(text)
        if domain and local in ("", "*"):
            key = {"account": "domain", "recipient": "recipient_domain"}.get(attribute)
            cure = f"{key}: {domain}" if key else f"/@{re.escape(domain)}$/"
            return Flaw(f"{quoted(text)} is no address", f"for a whole domain write {cure}")
    if "*" in text:
        message = f"the * in {quoted(text)} stands for nothing but itself"
        pattern = re.escape(text).replace(r"\*", ".*")
        return Flaw(message, f"write '/^{pattern}$/'")
    return None
