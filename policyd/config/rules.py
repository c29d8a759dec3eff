"""The policy that a rule file comes to: its records, built in order and checked together."""

from policyd.aup.address import Accounts, LocalDomains
from policyd.aup.policy import Limit, Organization, Policy, Recipients, State
from policyd.clock import WallTime
from policyd.config import grammar
from policyd.config.aftermath import build_aftermath
from policyd.config.likeness import build_likeness
from policyd.config.limits import Setting, build_limit
from policyd.config.lists import NamedFiles
from policyd.config.names import domain_flaw
from policyd.config.nodes import Mapping
from policyd.config.problem import Problems
from policyd.config.senders import Senders
from policyd.config.tables import Record


def build(
    tree: Mapping,
    files: NamedFiles,
    problems: Problems,
    *,
    now: WallTime | None = None,
    complete: bool = True,
) -> Policy | None:
    """Return the policy of the rule file *tree*, or None after an error.

    With *now*, entries that are over are pointed out. A tree that is not *complete* lacks files
    that could not be read: what is missing in it is no mistake.
    """
    file = grammar.FILE_TABLE.read(tree, problems)
    setting = _setting(file, files, problems, now)
    limits = _limits(file, setting, problems)
    errors = problems.errors
    local = _local(file, files)
    if complete:
        _check_presence(file, problems)
    if complete and problems.errors == errors and not file[grammar.LOCAL].flawed:
        _check_local(file, local, problems)
    known = limits if complete and grammar.LIMITS in file else None
    senders = Senders(setting, known, files, problems)
    overrides = tuple(senders.override(record) for record in file[grammar.OVERRIDES])
    exemptions = tuple(senders.exemption(record) for record in file[grammar.EXEMPT])
    aftermath = build_aftermath(file, known, setting, files, problems)
    if problems.errors:
        return None
    state = file[grammar.STATE]
    return Policy(
        mode=setting.mode,
        limits=limits,
        local=local,
        accounts=setting.accounts,
        time_zone=setting.time_zone,
        organization=setting.organization,
        likeness=setting.likeness,
        recipient_extension=file[grammar.RECIPIENT_FORM].get(grammar.STRIP_EXTENSION) or "",
        end_session=file[grammar.END_SESSION],
        overrides=overrides,
        exemptions=exemptions,
        state=State(
            state[grammar.DIRECTORY],
            state[grammar.SNAPSHOT_EVERY],
            state[grammar.MAX_KEYS],
            state[grammar.MAX_MEMORY],
        ),
        aftermath=aftermath,
    )


def _setting(file: Record, files: NamedFiles, problems: Problems, now: WallTime | None) -> Setting:
    accounts = file[grammar.ACCOUNTS]
    organization = file[grammar.ORGANIZATION]
    return Setting(
        mode=file[grammar.MODE],
        accounts=Accounts(
            accounts[grammar.IDENTITY],
            accounts.get(grammar.DEFAULT_DOMAIN) or "",
            accounts.get(grammar.STRIP_EXTENSION) or "",
        ),
        likeness=build_likeness(file[grammar.LIKENESS], files, problems),
        organization=Organization(
            organization.get(grammar.NAME) or "",
            organization.get(grammar.AUP_URL) or "",
            organization.get(grammar.CONTACT) or "",
        ),
        time_zone=file[grammar.TIME_ZONE],
        now=now,
    )


def _limits(file: Record, setting: Setting, problems: Problems) -> tuple[Limit, ...]:
    limits = []
    seen: dict[str, Record] = {}
    for record in file.get(grammar.LIMITS) or ():
        limit = build_limit(record, setting, problems)
        same = seen.setdefault(limit.id, record) if grammar.ID in record else record
        if same is not record:
            place = record.place(grammar.ID)
            message = f"the limit {limit.id} is already in {same.place(grammar.ID)}"
            problems.error(place, message, "give each limit an id of its own")
        limits.append(limit)
    return tuple(limits)


def _local(file: Record, files: NamedFiles) -> LocalDomains:
    local = file[grammar.LOCAL]
    domains = [domain.value for domain in local.get(grammar.DOMAINS) or ()]
    for name in local.get(grammar.DOMAIN_FILES) or ():
        domains += files.entries(name, domain_flaw)
    return LocalDomains(domains)


def _check_presence(file: Record, problems: Problems) -> None:
    """Check that what every rule file has is there, in one file or another."""
    if not file.has(grammar.VERSION):
        problems.error(file.place(), "version is missing", "begin with version: 1")
    if not file.has(grammar.LIMITS) or (grammar.LIMITS in file and not file.get(grammar.LIMITS)):
        place = file.place(grammar.LIMITS)
        problems.error(place, "there are no limits", "add limits: and at least one entry")


def _check_local(file: Record, local: LocalDomains, problems: Problems) -> None:
    """Warn once when recipients are told apart by domains that nobody has named."""
    if len(local):
        return
    for record in file.get(grammar.LIMITS) or ():
        if record[grammar.RECIPIENTS] is not Recipients.ALL:
            place = record.place(grammar.RECIPIENTS)
            message = "no local domain is configured, so every domain is external"
            problems.warning(place, message, "add local: {domains: [mail.example]}")
            return
