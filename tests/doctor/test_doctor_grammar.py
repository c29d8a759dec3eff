"""Lists of restrictions, names and services as Postfix reads them."""

import pytest
from doctor.recorded import Recorded

from policyd.doctor.postfix import Printed, read
from policyd.doctor.restrictions import asks, names_in, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a,b c,\td , ,e", ["a", "b", "c", "d", "e"]),
        ("a { b, c }, d", ["a", "{ b, c }", "d"]),
        ("a {b,{ c = d e }} f", ["a", "{b,{ c = d e }}", "f"]),
        (
            "check_x inline:{ a@b=REJECT c, d=OK }, e",
            ["check_x", "inline:{ a@b=REJECT c, d=OK }", "e"],
        ),
        ("a { b", ["a", "{ b"]),
        ("a } b", ["a", "}", "b"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert list(words(text)) == expected


def test_arguments_are_no_restrictions() -> None:
    text = "check_client_access permit, reject_rbl_client reject, PERMIT_mynetworks, sleep 1"
    assert names_in(text) == {
        *("check_client_access", "reject_rbl_client", "permit_mynetworks", "sleep"),
    }


def test_a_service_and_its_options() -> None:
    text = (
        "CHECK_policy_service {unix:policyd/policy,timeout=5s"
        ", { default_action = 451 4.3.5 later, please } policy_context=x}"
    )
    recorded = Recorded(submission={"smtpd_recipient_restrictions": text})
    ask = asks(recorded.postfix().listeners[1])[0]
    assert ask.service == "unix:policyd/policy"
    assert ask.options == {
        "timeout": "5s",
        "default_action": "451 4.3.5 later, please",
        "policy_context": "x",
    }
    assert ask.written(timeout="") == (
        "check_policy_service { unix:policyd/policy, "
        "{ default_action = 451 4.3.5 later, please }, policy_context=x }"
    )


def test_a_class_that_names_itself_ends() -> None:
    recorded = Recorded(
        main={"smtpd_restriction_classes": "a, b", "a": "b, permit", "b": "a"},
        submission={"smtpd_recipient_restrictions": "a, $policyd_ask"},
    )
    assert asks(recorded.postfix().listeners[1])[0].behind == "permit"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$one", "1"),
        ("${one}x$(two)", "1x2"),
        ("$two-$nonesuch-$$one", "2--$one"),
        ("${stress?{10}:{300}}s", "asked of -x"),
        ("$loop", ""),
    ],
)
def test_names(text: str, value: str) -> None:
    main = f"one = 1\ntwo = $other\nother = x\nloop = $loop\nit = {text}\n"
    own = "587/inet/other = 2\n"
    services = "587 inet n - - - - smtpd -o other=2\n"
    postfix = read(Printed(main, "it = asked of -x\n", own, own, services))
    assert postfix.listeners[0].value("it") == value


@pytest.mark.parametrize(
    ("level", "column", "chrooted"),
    [("0", "-", True), ("3.6", "-", False), ("3.6", "y", True), ("0", "n", False)],
)
def test_the_chroot_column(level: str, column: str, chrooted: bool) -> None:
    main = f"compatibility_level = {level}\n"
    services = f"587 inet n - {column} - - smtpd\n"
    (listener,) = read(Printed(main, main, "", "", services)).listeners
    assert listener.is_chrooted is chrooted


def test_listeners() -> None:
    services = """\
smtp       inet  n       -       y       -       1       postscreen
smtpd      pass  -       -       y       -       -       smtpd -o content_filter=
587        inet  n       -       y       -       -       smtpd
[::1]:smtps inet n       -       y       -       -       smtpd
smtp       unix  -       -       y       -       -       smtp
"""
    listeners = read(Printed("", "", "", "", services)).listeners
    assert [(one.label, one.port, one.is_loopback) for one in listeners] == [
        ("smtpd (25, behind postscreen)", 0, False),
        ("587", 587, False),
        ("[::1]:smtps (465)", 465, True),
    ]
    assert [one.takes_mail_from_the_world for one in listeners] == [True, False, False]
