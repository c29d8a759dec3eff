"""The notices that administrators get: to whom, how, and in what words."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from policyd.aup.address import fold_domain, split_address
from policyd.aup.ladder_rules import NoticeRules, Template
from policyd.aup.notice_template import TemplateError, parse_template
from policyd.config import notices_grammar as grammar
from policyd.config.addresses import addresses
from policyd.config.kinds import Placed
from policyd.config.limits import Setting
from policyd.config.lists import NamedFiles
from policyd.config.names import mailable_flaw
from policyd.config.problem import Place, Problems, quoted
from policyd.config.tables import Key, Record


def build_notices(
    record: Record, setting: Setting, files: NamedFiles, problems: Problems
) -> NoticeRules:
    """Return who is told, how, and in what words."""
    reader = _Templates(files, problems)
    templates = reader.of(record)
    by_domain: dict[str, tuple[str, ...]] = {}
    domain_templates: dict[str, Mapping[str, Template]] = {}
    if (file := record.get(grammar.TO_FILE)) and (source := files.source(file)):
        listed = addresses(source, problems)
        by_domain = {domain: _mailable(found) for domain, found in listed.items()}
    for domain, entry in _entries(record, problems):
        if own := entry.get(grammar.TO):
            by_domain[domain] = _mailable(one.replace("{domain}", domain) for one in own)
        if words := reader.of(entry):
            domain_templates[domain] = words
    _check_readers(record, problems)
    to, bcc = record.get(grammar.TO), record.get(grammar.BCC)
    return NoticeRules(
        to=_mailable(to or ()),
        by_domain=by_domain,
        bcc=_mailable(bcc or ()),
        smtp=record[grammar.SMTP],
        sender=_sender(record, setting, problems),
        templates=templates,
        domain_templates=domain_templates,
        observed=record[grammar.OBSERVED],
        most_per_hour=record[grammar.MOST_PER_HOUR],
        give_up=record[grammar.GIVE_UP],
    )


class _Templates:
    """Reads the templates that records name; one that is right only once."""

    def __init__(self, files: NamedFiles, problems: Problems) -> None:
        self._files = files
        self._problems = problems
        self._read: dict[tuple[str, str], Template] = {}

    def of(self, record: Record) -> Mapping[str, Template]:
        """Return the templates of *record* that are right, by kind of notice."""
        found = {}
        for kind, key in grammar.TEMPLATES.items():
            if (file := record.get(key)) and (template := self._template(file, kind)):
                found[kind] = self._read[file.value, kind] = template
        return found

    def _template(self, file: Placed[str], kind: str) -> Template | None:
        if template := self._read.get((file.value, kind)):
            return template
        if source := self._files.source(file):
            try:
                return parse_template("\n".join(source.lines), kind)
            except TemplateError as error:
                place = Place(source, error.line, error.column)
                self._problems.error(place, error.message, error.hint)
        return None


def _entries(record: Record, problems: Problems) -> Iterator[tuple[str, Record]]:
    """Yield each folded domain that an entry of ``domains`` is about, with the entry."""
    places: dict[str, Place] = {}
    for entry in record[grammar.DOMAINS]:
        says: Iterable[Key[Any]] = (grammar.TO, *grammar.TEMPLATES.values())
        if not any(key in entry for key in says) and not entry.flawed:
            message = "the entry says nothing about its domains"
            problems.error(entry.place(), message, "add to or template")
        for domain, place in entry[grammar.FOR_DOMAINS]:
            name = fold_domain(domain)
            if (first := places.setdefault(name, place)) is not place and not entry.flawed:
                message = f"{domain} is already in line {first.line}"
                problems.error(place, message, "keep one of the two")
            yield name, entry


def _check_readers(record: Record, problems: Problems) -> None:
    if not (record.has(grammar.TO) or record.has(grammar.TO_FILE)) and not record.flawed:
        message = "nobody gets the notices"
        problems.error(record.place(), message, 'add to: ["postmaster@{domain}"]')
    if record[grammar.OBSERVED] and not record.has(grammar.BCC):
        message = "observed is for those under bcc, and there are none"
        problems.error(record.place(grammar.OBSERVED), message, "add bcc: abuse@mail.example")


def _sender(record: Record, setting: Setting, problems: Problems) -> str:
    """Return whom the notices are from."""
    domain = setting.accounts.default_domain
    postmaster = f"postmaster@{domain}" if domain else ""
    sender = record.get(grammar.SENDER) or setting.organization.contact or postmaster
    if not record.has(grammar.SENDER):
        hint = "add sender: postmaster@mail.example"
        if not sender:
            problems.error(record.place(), "the notices have no sender", hint)
        elif mailable_flaw(sender):
            message = f"{quoted(sender)} cannot be the sender of the notices"
            problems.error(record.place(), message, hint)
    return next(iter(_mailable([sender])))


def _mailable(found: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses *found*, in the form that SMTP knows."""
    parts = map(split_address, found)
    return tuple(f"{local}@{fold_domain(domain)}" for local, domain in parts)
