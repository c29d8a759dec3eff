"""What the rules come to, in lines that a postmaster reads."""

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Final

from policyd.aup.address import Accounts, LocalDomains
from policyd.aup.policy import (
    Count,
    Exemption,
    KeyPart,
    Likeness,
    LikenessBy,
    Limit,
    Mode,
    Override,
    Policy,
    Recipients,
    Refuse,
)
from policyd.aup.wording import duration
from policyd.config.aftermath_summary import told_of_aftermath
from policyd.config.quantities import as_size

_MODES: Final = {
    Mode.OBSERVE: "observe: what would be refused is logged, all mail passes",
    Mode.ENFORCE: "enforce: mail over a limit is refused",
}
_NETWORKS: Final = "client networks (/24, IPv6 /64)"


def summarise(policy: Policy) -> list[str]:
    """Return what *policy* comes to, one line for each thing that it says."""
    return [
        *_provider(policy),
        f"limits: {len(policy.limits)}",
        *(f"  {sentence(limit)}" for limit in policy.limits),
        *_section("overrides", [_override(o, policy.time_zone) for o in policy.overrides]),
        *_section("exempt", [_exemption(e, policy.time_zone) for e in policy.exemptions]),
        *told_of_aftermath(policy.aftermath),
        _state(policy),
    ]


def sentence(limit: Limit) -> str:
    """Return what *limit* does, as one sentence."""
    refused = "the message" if limit.refuse is Refuse.MESSAGE else "each recipient too many"
    where = f", where {limit.match}" if limit.match else ""
    unless = f", unless {limit.unless}" if limit.unless else ""
    strike = ", strike" if limit.strike else ""
    return (
        f"{limit.id}: {limit.action.verb} {refused} when {_who(limit.per)} sends {_what(limit)}"
        f" in {duration(limit.window)}{where}{unless} ({limit.mode.value}{strike})"
    )


def _provider(policy: Policy) -> Iterator[str]:
    yield f"mode: {_MODES[policy.mode]}"
    organization = policy.organization
    named = (organization.name, organization.aup_url, organization.contact)
    yield f"organization: {', '.join(filter(None, named)) or 'not named'}"
    yield f"local domains: {_local(policy.local)}"
    yield f"accounts: {_identity(policy.accounts)}"
    if policy.recipient_extension:
        yield f"recipients: what follows {policy.recipient_extension} is stripped"
    yield f"likeness: {_likeness(policy.likeness)}"
    yield f"time zone: {policy.time_zone}"


def _local(local: LocalDomains) -> str:
    return f"{len(local)}, all others are external" if len(local) else "none, all are external"


def _identity(accounts: Accounts) -> str:
    told = "the first that is set of " if len(accounts.identity) > 1 else ""
    told += ", ".join(accounts.identity)
    if accounts.default_domain:
        told += f"; without a domain it is in {accounts.default_domain}"
    if accounts.strip_extension:
        told += f"; what follows {accounts.strip_extension} is stripped"
    return told


def _likeness(likeness: Likeness) -> str:
    unit = "percent" if likeness.percent else "bytes"
    size = f"in size within {likeness.tolerance:g} {unit} of the first"
    is_any = likeness.without_content is LikenessBy.ANY
    if likeness.by is LikenessBy.CONTENT:
        told = "messages are similar when they say much the same"
        boilerplate = ", but for the boilerplate" if likeness.boilerplate else ""
        unknown = "all of a sender" if is_any else f"when {size}"
        subjects = "" if likeness.subjects else "; subjects are not kept"
        return f"{told}{boilerplate}; those whose content is not shown {unknown}{subjects}"
    if is_any:
        return "all messages of a sender are similar"
    return f"messages are similar when {size}"


def _who(per: Sequence[KeyPart]) -> str:
    """Return the sender's side of a key: what sends."""
    senders = []
    for part in per:
        if part.name in ("likeness", "recipient", "recipient_domain"):
            continue
        if (part.prefix4, part.prefix6) == (32, 128):
            senders.append(f"one {part.name.replace('_', ' ')}")
        else:
            name = part.name.removesuffix("_address")
            senders.append(f"one {name} network (/{part.prefix4}, IPv6 /{part.prefix6})")
    return " with ".join(senders) or "anybody"


def _what(limit: Limit) -> str:
    """Return the mail's side of a limit: what is sent to whom."""
    mail = "similar mail" if limit.counts_per("likeness") else "mail"
    kind = "" if limit.recipients is Recipients.ALL else f"{limit.recipients.value} "
    domain = " of one domain" if limit.counts_per("recipient_domain") else ""
    to = f"one {kind}recipient" if limit.counts_per("recipient") else f"{kind}recipients{domain}"
    if limit.count is Count.MESSAGES:
        similar = "similar " if limit.counts_per("likeness") else ""
        return f"more than {limit.max} {similar}messages to {to}"
    if limit.count is Count.BYTES:
        return f"more than {as_size(limit.max)} of {mail} to {to}"
    if limit.count is Count.DISTINCT_CLIENTS:
        return f"{mail} to {to} from more than {limit.max} {_NETWORKS}"
    if limit.count is Count.FIRST_TIME_RECIPIENTS:
        known = f"(not mailed for {duration(limit.known_for)})"
        return f"{mail} to more than {limit.max} first-time {to} {known}"
    distinct = "distinct " if limit.count is Count.DISTINCT_RECIPIENTS else ""
    if limit.counts_per("recipient"):
        return f"{mail} more than {limit.max} times to {to}"
    return f"{mail} to more than {limit.max} {distinct}{to}"


def _override(override: Override, zone: tzinfo) -> str:
    limits = (
        f"{pattern} {'unlimited' if maximum is None else maximum}"
        for pattern, maximum in override.limits.items()
    )
    return f"{override.match}: {', '.join(limits)}{_terms(override, zone)}"


def _exemption(exemption: Exemption, zone: tzinfo) -> str:
    return f"{exemption.match}{_terms(exemption, zone)}"


def _terms(entry: Override | Exemption, zone: tzinfo) -> str:
    """Return how long *entry* holds, and why it is there."""
    reason = f" ({entry.reason})" if entry.reason else ""
    if entry.until is None:
        return reason
    last = datetime.fromtimestamp(entry.until - 1, zone)
    return f", until the end of {last.date()}{reason}"


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"{title}: {len(lines)}" if lines else f"{title}: none"
    for line in lines:
        yield f"  {line}"


def _state(policy: Policy) -> str:
    state = policy.state
    memory = as_size(state.max_memory)
    return f"state: {state.directory}, at most {state.max_keys} keys a limit and {memory} of memory"
