"""How content is shown to policyd: each fault by its code, and the lines that cure it."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from doctor.recorded import QUEUE, SUBMISSION, Recorded

from policyd.doctor.endpoint import Reach, Target
from policyd.doctor.fault import Fault, Weight
from policyd.doctor.milters import Milters

OURS = (
    "{ unix:policyd/milter, connect_timeout=5s, command_timeout=5s, content_timeout=10s,"
    " default_action=accept }"
)
SOCKET = Target(path=f"{QUEUE}/policyd/milter")
SMTPD, LOCAL = "smtpd_milters", "non_smtpd_milters"
FILTER = {"content_filter": "amavis:[127.0.0.1]:10024"}
DEFAULTS = {
    "authorized_submit_users": "root",
    "milter_command_timeout": "30s",
    "milter_connect_timeout": "30s",
    "milter_content_timeout": "300s",
    "milter_data_macros": "i",
    "milter_default_action": "tempfail",
    "milter_end_of_data_macros": "i",
    "milter_end_of_header_macros": "i",
    "milter_mail_macros": "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host}",
    "milter_protocol": "6",
    "non_smtpd_milters": "",
    "policyd_milters": OURS,
    "smtpd_milters": "",
}


def shown(
    main: Mapping[str, str] | None = None,
    submission: Mapping[str, str] | None = None,
    **others: object,
) -> Recorded:
    """Return the snippets, with policyd's milter on the submission port, and changes to them."""
    return Recorded(
        main={**DEFAULTS, **(main or {})},
        submission={SMTPD: "$policyd_milters", **(submission or {})},
        **others,
    )


def milters(recorded: Recorded, *listening: str) -> Milters:
    everyone = recorded.wiring().everyone
    return Milters(everyone, recorded.postfix().main, QUEUE, listening)


def faults(recorded: Recorded, *listening: str) -> list[Fault]:
    found = milters(recorded, *listening)
    return found.faults({one: recorded.reached.get(one, Reach.OK) for one in found.targets()})


def only(recorded: Recorded, *listening: str) -> Fault:
    (fault,) = faults(recorded, *listening)
    return fault


def braces(**options: str) -> dict[str, str]:
    usual = {
        "connect_timeout": "5s",
        "command_timeout": "5s",
        "content_timeout": "10s",
        "default_action": "accept",
    }
    words = [f"{name}={value}" for name, value in {**usual, **options}.items() if value]
    return {"policyd_milters": f"{{ {', '.join(['unix:policyd/milter', *words])} }}"}


HEALTHY = {
    "the snippets": shown(),
    "no milter at all": Recorded(main={"policyd_milters": OURS}),
    "another milter on all ports": Recorded(main={SMTPD: "inet:127.0.0.1:8891"}),
    "another milter besides": shown(submission={SMTPD: "inet:127.0.0.1:8891, $policyd_milters"}),
    "the milter's own options in main.cf": shown(
        {
            "policyd_milters": "unix:policyd/milter",
            "milter_default_action": "accept",
            "milter_connect_timeout": "5s",
            "milter_command_timeout": "5s",
            "milter_content_timeout": "30s",
        }
    ),
    "failing closed": shown(braces(default_action="tempfail")),
    "by its path without a chroot": shown(
        {"policyd_milters": OURS.replace("unix:", f"unix:{QUEUE}/")}, chroot="n"
    ),
    "sendmail is seen": shown({"authorized_submit_users": "", LOCAL: "$policyd_milters"}),
    "macros in other words": shown({"milter_mail_macros": "{i},auth_authen"}),
    "the queue id once": shown({"milter_data_macros": "", "milter_end_of_header_macros": ""}),
    "a listener that does not ask": shown(more={"127.0.0.1:2525": {}}),
}

PLANTED = {
    "milter-missing": shown(more={"submissions": SUBMISSION}),
    "milter-not-here": shown(reinjection={SMTPD: "$policyd_milters"}, submission=FILTER),
    "milter-not-here though it asks": shown(
        reinjection={SMTPD: "$policyd_milters", "smtpd_end_of_data_restrictions": "$policyd_ask"},
        submission=FILTER,
    ),
    "milter-not-here for notices": shown(
        reinjection={SMTPD: "inet:127.0.0.1:8891, $policyd_milters"}
    ),
    "milter-default-action": shown(braces(default_action="")),
    "milter-default-action reject": shown(braces(default_action="reject")),
    "milter-timeout": shown(braces(content_timeout="", connect_timeout="")),
    "milter-protocol": shown({"milter_protocol": "2"}),
    "milter-protocol in braces": shown(braces(protocol="4")),
    "milter-queue-id": shown(
        {
            "milter_data_macros": "",
            "milter_end_of_header_macros": "{x}",
            "milter_end_of_data_macros": "{y}",
        }
    ),
    "milter-login": shown({"milter_mail_macros": "{mail_addr}, i"}),
    "milter-chroot": shown(
        {"policyd_milters": OURS.replace("unix:", "unix:/run/")},
        reached={Target(path=f"{QUEUE}/run/policyd/milter"): Reach.MISSING},
    ),
    "milter-chroot by its whole name": shown(
        {"policyd_milters": OURS.replace("unix:", f"unix:{QUEUE}/")},
        reached={Target(path=f"{QUEUE}{SOCKET}"): Reach.MISSING},
    ),
    "milter-no-socket": shown(reached={SOCKET: Reach.MISSING}),
    "milter-no-socket but a file": shown(reached={SOCKET: Reach.NO_SOCKET}),
    "milter-no-socket without a chroot": shown(
        {"policyd_milters": OURS.replace("unix:", "unix:/run/")},
        chroot="n",
        reached={Target(path="/run/policyd/milter"): Reach.MISSING},
    ),
    "milter-permissions": shown(reached={SOCKET: Reach.FORBIDDEN}),
    "milter-nothing-listens": shown(reached={SOCKET: Reach.REFUSED}),
    "milter-sendmail": shown({"authorized_submit_users": "static:anyone"}),
}


@pytest.mark.parametrize("recorded", HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_configuration_has_no_fault(recorded: Recorded) -> None:
    assert faults(recorded) == []
    assert recorded.faults() == []


@pytest.mark.parametrize("named", PLANTED)
def test_a_planted_fault_is_found_and_nothing_else(named: str) -> None:
    fault = only(PLANTED[named])
    assert fault.code == named.partition(" ")[0]
    assert fault.what
    assert fault.why.endswith(".")
    assert all(fault.cure)


@pytest.mark.parametrize(
    ("named", "cure"),
    [
        ("milter-missing", [f"-o {SMTPD}=$policyd_milters"]),
        ("milter-not-here", [f"-o {SMTPD}="]),
        ("milter-not-here for notices", [f"-o {SMTPD}=inet:127.0.0.1:8891"]),
        ("milter-default-action", [f"policyd_milters = {OURS}"]),
        ("milter-default-action reject", [f"policyd_milters = {OURS}"]),
        ("milter-protocol in braces", [f"policyd_milters = {OURS[:-2]}, protocol=6 }}"]),
        ("milter-queue-id", ["milter_end_of_data_macros = i {y}"]),
        (
            "milter-login",
            ["milter_mail_macros = i {auth_type} {auth_authen} {mail_addr}"],
        ),
        (
            "milter-chroot",
            [
                f"policyd serve ... --milter unix:{SOCKET}:mode=0666",
                "# and in main.cf unix:policyd/milter",
            ],
        ),
    ],
)
def test_the_lines_to_write(named: str, cure: list[str]) -> None:
    assert list(only(PLANTED[named]).cure) == cure


@pytest.mark.parametrize(
    "named",
    [
        *("milter-default-action", "milter-timeout", "milter-protocol in braces"),
        *("milter-queue-id", "milter-login"),
    ],
)
def test_what_is_written_cures(named: str) -> None:
    recorded = PLANTED[named]
    (line,) = only(recorded).cure
    name, _, value = line.partition(" = ")
    assert faults(replace(recorded, main={**recorded.main, name: value})) == []


def test_both_timeouts_are_told() -> None:
    assert only(PLANTED["milter-timeout"]).what == (
        "policyd is waited for: connect_timeout 30s, content_timeout 300s"
    )


def test_what_follows_depends_on_the_default_action() -> None:
    assert "passes" in only(PLANTED["milter-no-socket"]).why
    closed = shown(braces(default_action="tempfail"), reached={SOCKET: Reach.MISSING})
    assert "no mail is taken" in only(closed).why


def test_port_25_may_be_shown_for_nothing() -> None:
    fault = only(shown(world={SMTPD: "$policyd_milters"}))
    assert (fault.code, fault.weight) == ("milter-not-here", Weight.HINT)
    assert fault.listeners == ("smtp (25)",)


def test_where_it_is_listening_tells_what_is_meant() -> None:
    # as told by --milter: nobody shows anything to it
    plain = Recorded(main=DEFAULTS)
    assert faults(plain) == []
    assert only(plain, "tcp:127.0.0.1:10042").code == "milter-missing"
    by_port = shown(
        {"policyd_milters": OURS.replace("unix:policyd/milter", "inet:127.0.0.1:10042")},
        {SMTPD: OURS.replace("unix:policyd/milter", "inet:127.0.0.1:10042")},
    )
    assert faults(by_port, "tcp:127.0.0.1:10042") == []


def test_the_line_without_names_of_the_snippet() -> None:
    plain = Recorded(main={**DEFAULTS, "policyd_milters": "", SMTPD: "inet:127.0.0.1:8891"})
    fault = only(plain, "tcp:127.0.0.1:10042")
    assert fault.cure == (f"-o {{ {SMTPD} = inet:127.0.0.1:8891, {OURS} }}",)


def test_a_milter_without_a_name_of_the_snippet_is_cured_where_it_stands() -> None:
    raw = "{ unix:policyd/milter, connect_timeout=5s, command_timeout=5s, content_timeout=10s }"
    fault = only(shown({"policyd_milters": ""}, {SMTPD: raw}))
    assert fault.cure == ("# wherever policyd's milter is named:", OURS)


def test_what_was_checked() -> None:
    assert list(milters(shown()).checked()) == [
        "submission (587): shows content to unix:policyd/milter"
    ]
    assert list(milters(Recorded()).checked()) == []
