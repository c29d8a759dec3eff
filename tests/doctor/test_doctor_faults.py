"""Each fault by its code, and the lines that cure it."""

from dataclasses import replace

import pytest
from doctor.recorded import ASK, QUEUE, RAW, Recorded

from policyd.doctor.endpoint import Reach, Target
from policyd.doctor.fault import Fault, Weight

RCPT, END = "smtpd_recipient_restrictions", "smtpd_end_of_data_restrictions"
TCP = Target(host="127.0.0.1", port=10040)
SOCKET = Target(path=f"{QUEUE}/policyd/policy")
UNIX = "unix:policyd/policy"
FILTER = {"content_filter": "amavis:[127.0.0.1]:10024"}
BOTH = {RCPT: ASK, END: ASK}


def ask(**options: str) -> dict[str, str]:
    words = ", ".join(f"{name}={value}" for name, value in options.items())
    return {"policyd_ask": f"check_policy_service {{ $policyd_service, {words} }}"}


def rcpt(text: str) -> dict[str, str]:
    return {"policyd_recipient_restrictions": text}


HEALTHY = {
    "the snippets": Recorded(),
    "over the socket": Recorded(main={"policyd_service": UNIX}),
    "an absolute socket without a chroot": Recorded(
        main={"policyd_service": f"unix:{QUEUE}/policyd/policy"}, chroot="n"
    ),
    "a daemon that was not asked": Recorded(listening=None, notices=None),
    "failing closed": Recorded(
        main={
            "policyd_ask": "check_policy_service { $policyd_service, timeout=5s,"
            " { default_action = 451 4.3.5 Mail cannot be accepted, right now } }"
        }
    ),
    "timeouts for all services": Recorded(
        main={
            "policyd_ask": "check_policy_service $policyd_service",
            "smtpd_policy_service_timeout": "5s",
            "smtpd_policy_service_default_action": "DUNNO",
        }
    ),
    "another service on port 25": Recorded(
        world={RCPT: "permit_mynetworks, check_policy_service inet:127.0.0.1:10023"}
    ),
    "a content filter that hands back to the snippet's listener": Recorded(submission=FILTER),
    "no names of the snippet": Recorded(
        submission={RCPT: f"{RAW}, permit_sasl_authenticated, reject", END: RAW}
    ),
    "a class in the list": Recorded(
        main={"smtpd_restriction_classes": "ours", "ours": "$policyd_ask"},
        submission={RCPT: "ours, permit_sasl_authenticated, reject"},
    ),
    "a class behind a table": Recorded(
        main={"smtpd_restriction_classes": "ours", "ours": "$policyd_ask, permit"},
        submission={RCPT: "check_recipient_access hash:/x, permit_sasl_authenticated, reject"},
    ),
    "before a relay check that is done already": Recorded(
        submission={RCPT: "$policyd_ask, permit_sasl_authenticated, reject_unauth_destination"}
    ),
    "a proxy that says who logged in": Recorded(
        submission={
            "smtpd_sasl_auth_enable": "no",
            "smtpd_authorized_xclient_hosts": "192.0.2.1",
        }
    ),
    "certificates instead of logins": Recorded(
        submission={"smtpd_sasl_auth_enable": "no", "smtpd_tls_req_ccert": "yes"}
    ),
    "a daemon elsewhere": Recorded(main={"policyd_service": "inet:192.0.2.9:10040"}),
    "notices that go elsewhere": Recorded(notices=("192.0.2.9", 25)),
    "a webmail's listener with a login": Recorded(
        more={"127.0.0.1:10587": {**BOTH, "smtpd_sasl_auth_enable": "yes"}}, submission=FILTER
    ),
}

PLANTED = {
    "no-end-of-message": Recorded(submission={END: ""}),
    "no-rcpt": Recorded(submission={RCPT: "permit_sasl_authenticated, reject"}),
    "wrong-list": Recorded(submission={END: "", "smtpd_data_restrictions": "$policyd_ask"}),
    "wrong-list in sender": Recorded(
        submission={RCPT: "permit_sasl_authenticated", "smtpd_sender_restrictions": "$policyd_ask"}
    ),
    "wrong-list in etrn": Recorded(submission={"smtpd_etrn_restrictions": "$policyd_ask"}),
    "delay-reject": Recorded(
        main={"smtpd_delay_reject": "no"},
        submission={RCPT: "", "smtpd_client_restrictions": "$policyd_ask"},
    ),
    "after-permit": Recorded(main=rcpt("permit_sasl_authenticated, $policyd_ask, reject")),
    "after-permit at the end": Recorded(
        main={"policyd_end_of_data_restrictions": "permit, $policyd_ask"}
    ),
    "before-relay-check": Recorded(
        main={"smtpd_relay_before_recipient_restrictions": "no"},
        submission={RCPT: "$policyd_ask, reject_unauth_destination, permit"},
    ),
    "warn-if-reject": Recorded(
        main=rcpt("warn_if_reject, $policyd_ask, permit_sasl_authenticated, reject")
    ),
    "listed-twice": Recorded(main=rcpt("$policyd_ask, $policyd_ask, permit")),
    "listed-twice in two lists": Recorded(
        submission={"smtpd_relay_restrictions": "$policyd_ask, permit_sasl_authenticated, reject"}
    ),
    "contexts-differ": Recorded(submission={END: RAW.replace(" }", ", policy_context=b }")}),
    "no-default-action": Recorded(main=ask(timeout="5s")),
    "default-permits": Recorded(main=ask(timeout="5s", default_action="OK")),
    "default-rejects": Recorded(main=ask(timeout="5s", default_action="REJECT")),
    "long-timeout": Recorded(main=ask(default_action="DUNNO")),
    "long-timeout in minutes": Recorded(main=ask(default_action="DUNNO", timeout="1m")),
    "try-limit": Recorded(main=ask(timeout="5s", default_action="DUNNO", try_limit="1")),
    "chroot": Recorded(
        main={"policyd_service": "unix:/run/policyd/policy"},
        reached={Target(path=f"{QUEUE}/run/policyd/policy"): Reach.MISSING},
    ),
    "no-socket": Recorded(main={"policyd_service": UNIX}, reached={SOCKET: Reach.MISSING}),
    "socket-permissions": Recorded(
        main={"policyd_service": UNIX}, reached={SOCKET: Reach.FORBIDDEN}
    ),
    "nothing-listens": Recorded(listening=None, reached={TCP: Reach.REFUSED}),
    "other-port": Recorded(main={"policyd_service": "inet:127.0.0.1:10041"}),
    "other-port, not by name": Recorded(
        submission={
            RCPT: f"{RAW.replace('10040', '10041')}, permit_sasl_authenticated, reject",
            END: RAW.replace("10040", "10041"),
        }
    ),
    "reinjection-asks": Recorded(submission=FILTER, reinjection=BOTH),
    "notices-ask": Recorded(
        more={"127.0.0.1:10026": BOTH}, notices=("127.0.0.1", 10026), submission={}
    ),
    "no-notices-listener": Recorded(notices=("127.0.0.1", 10027)),
    "no-login": Recorded(submission={"smtpd_sasl_auth_enable": "no"}),
    "port-25": Recorded(world=BOTH),
    "soft-bounce": Recorded(main={"soft_bounce": "yes"}),
    "not-asked": Recorded(submission={RCPT: "permit_sasl_authenticated, reject", END: ""}),
    "not-asked on port 25": Recorded(world={"smtpd_sasl_auth_enable": "yes"}),
    "not-asked anywhere": Recorded(
        submission={RCPT: "permit_mynetworks", END: "", "smtpd_sasl_auth_enable": "no"}
    ),
}


def only(recorded: Recorded) -> Fault:
    (fault,) = recorded.faults()
    return fault


@pytest.mark.parametrize("recorded", HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_configuration_has_no_fault(recorded: Recorded) -> None:
    assert recorded.faults() == []


@pytest.mark.parametrize("named", PLANTED)
def test_a_planted_fault_is_found_and_nothing_else(named: str) -> None:
    fault = only(PLANTED[named])
    assert fault.code == named.partition(" ")[0].rstrip(",")
    assert fault.what
    assert fault.why.endswith(".")
    assert all(fault.cure)


@pytest.mark.parametrize(
    ("named", "cure"),
    [
        ("no-end-of-message", [f"-o {END}=$policyd_end_of_data_restrictions"]),
        ("no-rcpt", [f"-o {RCPT}=$policyd_recipient_restrictions"]),
        (
            "wrong-list",
            ["-o smtpd_data_restrictions=", f"-o {END}=$policyd_end_of_data_restrictions"],
        ),
        (
            "after-permit",
            ["policyd_recipient_restrictions = $policyd_ask, permit_sasl_authenticated, reject"],
        ),
        (
            "warn-if-reject",
            ["policyd_recipient_restrictions = $policyd_ask, permit_sasl_authenticated, reject"],
        ),
        (
            "before-relay-check",
            [f"-o {{ {RCPT} = reject_unauth_destination, $policyd_ask, permit }}"],
        ),
        ("listed-twice", ["policyd_recipient_restrictions = $policyd_ask, permit"]),
        (
            "listed-twice in two lists",
            ["-o { smtpd_relay_restrictions = permit_sasl_authenticated, reject }"],
        ),
        ("no-default-action", [f"policyd_ask = {ASK}"]),
        ("try-limit", [f"policyd_ask = {ASK}"]),
        ("chroot", ["policyd_service = inet:127.0.0.1:10040"]),
        ("other-port", ["policyd_service = inet:127.0.0.1:10040"]),
        ("reinjection-asks", [f"-o {RCPT}=permit_mynetworks,reject", f"-o {END}="]),
        ("port-25", [f"-o {RCPT}=", f"-o {END}="]),
        ("soft-bounce", ["soft_bounce = no"]),
    ],
)
def test_the_lines_to_write(named: str, cure: list[str]) -> None:
    assert list(only(PLANTED[named]).cure) == cure


@pytest.mark.parametrize(
    "named", ["no-end-of-message", "no-rcpt", "not-asked", "no-login", "no-default-action"]
)
def test_what_is_written_cures(named: str) -> None:
    recorded = PLANTED[named]
    for line in only(recorded).cure:
        name, _, value = line.removeprefix("-o ").partition("=")
        changed = recorded.submission if line.startswith("-o ") else recorded.main
        changed = {**changed, name.strip(): value.strip()}
        place = "submission" if line.startswith("-o ") else "main"
        recorded = replace(recorded, **{place: changed})
    assert recorded.faults() == []


BARE = "check_policy_service unix:/run/policyd/policy"
CLOSED = "{ default_action = 451 4.3.5 Mail cannot be accepted, right now }"


@pytest.mark.parametrize(
    ("asked", "cured"),
    [
        (BARE, RAW),
        (f"check_policy_service {{ {BARE.split()[1]}, timeout=60s, try_limit=1 }}", RAW),
        # what was chosen, and does no harm, stays
        (
            f"check_policy_service {{ {BARE.split()[1]}, timeout=9s, {CLOSED} }}",
            f"check_policy_service {{ inet:127.0.0.1:10040, timeout=9s, {CLOSED} }}",
        ),
    ],
)
def test_another_address_comes_with_the_options_of_the_snippet(asked: str, cured: str) -> None:
    recorded = Recorded(
        submission={RCPT: f"{asked}, permit_sasl_authenticated, reject", END: asked},
        reached={Target(path=f"{QUEUE}/run/policyd/policy"): Reach.MISSING},
    )
    (chroot,) = [fault for fault in recorded.faults() if fault.code == "chroot"]
    assert chroot.cure[-1] == cured


@pytest.mark.parametrize("code", ["no-end-of-message", "no-rcpt"])
def test_what_is_added_is_not_copied_with_its_faults(code: str) -> None:
    bare = "check_policy_service inet:127.0.0.1:10040"
    lists = {RCPT: "permit_sasl_authenticated, reject", END: bare}
    if code == "no-end-of-message":
        lists = {RCPT: f"{bare}, permit_sasl_authenticated, reject", END: ""}
    # the snippet's names are not there
    main = dict.fromkeys(
        ("policyd_ask", "policyd_recipient_restrictions", "policyd_end_of_data_restrictions"), ""
    )
    faults = Recorded(main=main, submission=lists).faults()
    (missing,) = [fault for fault in faults if fault.code == code]
    assert RAW in missing.cure[0]


def test_one_context_for_all_is_written_as_in_the_snippet() -> None:
    bare = "check_policy_service { inet:127.0.0.1:10040, policy_context=a }"
    recorded = Recorded(submission={RCPT: f"{bare}, permit_sasl_authenticated, reject", END: RAW})
    (fault,) = [fault for fault in recorded.faults() if fault.code == "contexts-differ"]
    assert fault.cure[-1] == (
        "check_policy_service { inet:127.0.0.1:10040, policy_context=a, timeout=5s,"
        " default_action=DUNNO }"
    )


def test_listeners_that_share_a_fault_are_told_together() -> None:
    recorded = replace(PLANTED["no-default-action"], more={"submissions": SUBMISSIONS})
    assert only(recorded).listeners == ("submission (587)", "submissions (465)")


SUBMISSIONS = {
    "smtpd_sasl_auth_enable": "yes",
    RCPT: "$policyd_recipient_restrictions",
    END: "$policyd_end_of_data_restrictions",
}


def test_a_listener_goes_by_its_own_names() -> None:
    # -x knows main.cf's policyd_ask only
    recorded = Recorded(submission={"policyd_ask": RAW.replace("5s", "50s")})
    fault = only(recorded)
    assert fault.code == "long-timeout"
    assert fault.cure == (f"-o {{ policyd_ask = {ASK} }}",)


@pytest.mark.parametrize("before", ["permit_mynetworks", "permit_tls_clientcerts"])
def test_some_clients_may_be_spared_on_purpose(before: str) -> None:
    fault = only(Recorded(main=rcpt(f"{before}, $policyd_ask, permit_sasl_authenticated, reject")))
    assert (fault.code, fault.weight) == ("after-permit", Weight.HINT)


def test_own_servers_without_a_login_may_be_meant() -> None:
    own = {RCPT: "$policyd_ask, permit_mynetworks, reject", END: "$policyd_ask"}
    passes = {"smtpd_relay_restrictions": "permit_mynetworks, reject"}
    fault = only(Recorded(more={"192.0.2.1:2525": {**own, **passes}}))
    assert (fault.code, fault.weight) == ("no-login", Weight.HINT)


def test_port_25_with_logins_may_be_meant() -> None:
    fault = only(Recorded(world={**BOTH, "smtpd_sasl_auth_enable": "yes"}))
    assert (fault.code, fault.weight) == ("port-25", Weight.HINT)


def test_a_socket_in_the_queue_by_its_whole_name() -> None:
    missing = Target(path=f"{QUEUE}{QUEUE}/policyd/policy")
    recorded = Recorded(
        main={"policyd_service": f"unix:{SOCKET}"}, reached={missing: Reach.MISSING}
    )
    fault = only(recorded)
    assert (fault.code, fault.cure) == ("chroot", (f"policyd_service = {UNIX}",))


def test_what_was_checked() -> None:
    assert list(Recorded().wiring().checked()) == [
        "smtp (25): does not ask",
        "submission (587): asks inet:127.0.0.1:10040 at RCPT and END-OF-MESSAGE",
        "127.0.0.1:10025: does not ask; filtered mail comes back here; notices go by it",
    ]
