"""Notices: the mail that the administrator of an account gets about it.

Pure: a notice is made of what happened, of the rules and of the time, and is mail when it is told
its id and date.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final

from policyd.aup.event import NearLimit
from policyd.aup.incident import Incident, Suspension
from policyd.aup.ladder_rules import NoticeRules, Template
from policyd.aup.notice_facts import facts_of, facts_of_incident, facts_of_warning, moment, zone
from policyd.aup.notice_template import LONGEST_LINE, cut, filled_in, one_line
from policyd.aup.notice_words import DIGEST, TEMPLATES, Kind
from policyd.aup.policy import Policy
from policyd.clock import WallTime

MOST_LISTED: Final = 500
"""Incidents that a digest lists, a line each."""

_SHORT_LINE: Final = 78
"""Characters (RFC 5322); a longer line is encoded so that it is none."""

_DOMAIN: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_LONGEST_HEADER: Final = 200
_UNFOLDED: Final = SMTP.clone(max_line_length=LONGEST_LINE)

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS: Final = re.compile(
    rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_DOMAIN.pattern}", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail that is to be sent to those under *to*, who see one another, and to those under *bcc*.

    *incident* is the id of the one it is about, empty for none.
    """

    sender: str
    sender_name: str
    to: tuple[str, ...]
    bcc: tuple[str, ...]
    subject: str
    body: str
    incident: str = ""

    @property
    def recipients(self) -> tuple[str, ...]:
        """All who get it, each once."""
        return tuple(dict.fromkeys((*self.to, *self.bcc)))


def compose(
    kind: Kind,
    matter: Incident | NearLimit,
    policy: Policy,
    now: WallTime,
    suspensions: Iterable[Suspension] = (),
) -> Notice:
    """Return the notice of this *kind* about *matter*, as the *policy* wants it.

    *suspensions* are those that the incident led to. What is only observed, whatever the *kind*, is
    told to the provider alone, and in words that say so.
    """
    rules = _rules(policy)
    if isinstance(matter, NearLimit):
        observed, incident = not matter.limit.answers, ""
        values = facts_of_warning(matter, policy)
    else:
        observed, incident = matter.observed, matter.id
        values = facts_of_incident(matter, policy, now, suspensions)
        kind = Kind.OBSERVED if observed else kind
    template = _template(rules, kind, matter.domain)
    to, bcc = addresses(policy, matter.domain, provider=observed or kind is Kind.EXTREME)
    subject, body = filled_in(template, values)
    return Notice(_sender(policy), policy.organization.name, to, bcc, subject, body, incident)


def digest(
    to: Sequence[str], incidents: Sequence[Incident], policy: Policy, others: int = 0
) -> Notice:
    """Return the notice that lists *incidents*, and says how many *others* there are."""
    listed = incidents[:MOST_LISTED]
    more = others + len(incidents) - len(listed)
    values = facts_of(policy.organization) | {
        "number": str(len(incidents) + others),
        "others": str(more) if more else "",
        "zone": zone(policy),
        "lines": "\0",
    }
    subject, body = filled_in(DIGEST, values)
    body = body.replace("\0", "\n".join(_digest_line(one, policy) for one in listed))
    sender = _sender(policy)
    return Notice(sender, policy.organization.name, tuple(to), (), subject, body)


def addresses(
    policy: Policy, domain: str, *, provider: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return who gets a notice about an account of *domain*, and who gets a copy.

    With *provider*, or when there is nobody else, those get it who would get a copy. ``{domain}``
    stands for a domain of the provider's only: nobody else's postmaster is written to because of
    a sender address.
    """
    rules = _rules(policy)
    bcc = _valid(rules.bcc)
    to = tuple(rules.by_domain.get(domain) or rules.to)
    if not (domain in policy.local and _DOMAIN.fullmatch(domain)):
        to = tuple(address for address in to if "{domain}" not in address)
    to = () if provider else _valid(address.replace("{domain}", domain) for address in to)
    return (to, bcc) if to else (bcc, ())


def message(notice: Notice, message_id: str, date: datetime) -> bytes:
    """Return *notice* as mail: plain text in seven bits, its lines ended by CR and LF."""
    mail = EmailMessage(SMTP)
    mail["From"] = Address(_header(notice.sender_name), addr_spec=notice.sender)
    mail["To"] = ", ".join(notice.to)
    mail["Subject"] = _header(notice.subject)
    mail["Date"] = date
    mail["Message-ID"] = message_id
    mail["Auto-Submitted"] = "auto-generated"
    if notice.incident:
        mail["X-Policyd-Incident"] = _header(notice.incident)
    short = all(len(line) <= _SHORT_LINE for line in notice.body.split("\n"))
    plain = notice.body.isascii() and short
    mail.set_content(notice.body, cte="7bit" if plain else "quoted-printable")
    # encoded words are folded as they must be; plain ones stay on one line, which need not be short
    is_plain = notice.subject.isascii() and notice.sender_name.isascii()
    return mail.as_bytes(policy=_UNFOLDED if is_plain else SMTP)


def _header(text: str) -> str:
    """Return *text* as what may stand in a header.

    What looks like an encoded word (RFC 2047) is made none: it would be decoded as the header is
    set, and bring line feeds into it.
    """
    return one_line(text, _LONGEST_HEADER).replace("=?", "= ?")


def _rules(policy: Policy) -> NoticeRules:
    return policy.aftermath.notices or NoticeRules()


def _template(rules: NoticeRules, kind: Kind, domain: str) -> Template:
    for templates in (rules.domain_templates.get(domain, {}), rules.templates):
        if (found := templates.get(kind)) is not None:
            return found
    return TEMPLATES[kind]


def _valid(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(address for address in dict.fromkeys(addresses) if _ADDRESS.fullmatch(address))


def _sender(policy: Policy) -> str:
    """Return the From of notices: what the rules say, or else the nearest that makes sense."""
    rules = _rules(policy)
    default = f"postmaster@{policy.accounts.default_domain or 'localhost'}"
    return next(iter(_valid((rules.sender, policy.organization.contact, default))), "")


def _digest_line(incident: Incident, policy: Policy) -> str:
    figures = f"{incident.messages} message(s) sent to {incident.recipients} recipient(s)"
    what = [f"{one_line(incident.who, 100)}: {figures}", one_line(incident.title, 60)]
    if incident.observed:
        what.append("only observed")
    what += [one_line(action, 100) for action in incident.actions]
    return cut(f"  {moment(incident.last, policy)}  {incident.id}  {', '.join(what)}", 400)
