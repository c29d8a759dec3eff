"""Whom notices go to, and in what words: what a rule file and the files that it names come to."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ladder_section import CONTACT, RULES, aftermath_of, problems_of

from policyd.aup.ladder_rules import DAY, NoticeRules, Template
from policyd.config.addresses import addresses
from policyd.config.load import load, stamp
from policyd.config.names import mailable_flaw
from policyd.config.problem import Problems, Source

NOTICE = "ladder: {steps: [{strikes: 1, do: notice}]}\n"


def notices_of(directory: Path, text: str, rules: str = RULES) -> NoticeRules:
    found = aftermath_of(directory, f"{NOTICE}notices: {text}\n", rules).notices
    assert found is not None
    return found


def test_notices_have_defaults(tmp_path: Path) -> None:
    assert notices_of(tmp_path, "{to: 'postmaster@{domain}'}") == NoticeRules(
        to=("postmaster@{domain}",), sender="abuse@mail.example"
    )


def test_notices_with_everything(tmp_path: Path) -> None:
    (tmp_path / "addresses").write_text(
        "# domains\ncustomer.example: anna@Customer.example, it@partner.example # two\n"
        "Kunde.example: nobody@kunde.example\n"
    )
    for name in ("notice", "summary", "warning", "notice.de"):
        (tmp_path / name).write_text(f"Subject: {name}\r\n\r\nOne.\r\nTwo.\r\n")
    rules = notices_of(
        tmp_path,
        "\n  to: ['postmaster@{domain}', ops@MÜLLER.example]\n  to_file: addresses\n"
        "  bcc: [abuse@mail.example]\n  smtp: '[2001:db8::1]:25'\n"
        "  sender: Postmaster@Mail.example\n  template: notice\n  summary_template: summary\n"
        "  warning_template: warning\n"
        "  domains:\n    - {domains: [Kunde.example, klient.example], to: 'admin@{domain}',"
        " template: notice.de}\n"
        "    - {domains: client.example, summary_template: notice.de}\n"
        "  observed: true\n  most_per_hour: 7\n  give_up: 2d\n",
    )
    assert rules.to == ("postmaster@{domain}", "ops@xn--mller-kva.example")
    assert rules.by_domain == {
        "customer.example": ("anna@customer.example", "it@partner.example"),
        "kunde.example": ("admin@kunde.example",),  # what the rules say wins over the file
        "klient.example": ("admin@klient.example",),
    }
    assert rules.bcc == ("abuse@mail.example",)
    assert rules.smtp == ("2001:db8::1", 25)
    assert rules.sender == "Postmaster@mail.example"
    words = {name: Template(name, "One.\nTwo.") for name in ("notice", "summary", "warning")}
    german = Template("notice.de", "One.\nTwo.")
    assert rules.templates == {
        "incident": words["notice"],
        "summary": words["summary"],
        "warning": words["warning"],
    }
    assert rules.domain_templates == {
        "kunde.example": {"incident": german},
        "klient.example": {"incident": german},
        "client.example": {"summary": german},
    }
    assert rules.observed
    assert (rules.most_per_hour, rules.give_up) == (7, 2 * DAY)


@pytest.mark.parametrize(
    ("organization", "sender"),
    [(CONTACT, "abuse@mail.example"), ("", "postmaster@shared.example")],
)
def test_notices_are_from_the_contact_or_the_postmaster(
    tmp_path: Path, organization: str, sender: str
) -> None:
    rules = RULES.replace(CONTACT, f"{organization}accounts: {{default_domain: Shared.example}}\n")
    assert notices_of(tmp_path, "{to: a@mail.example}", rules).sender == sender


def test_files_of_notices_are_watched_right_or_wrong(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        f"{RULES}{NOTICE}notices:\n  to_file: addresses\n  template: notice\n"
        "  summary_template: notice\n  domains: [{domains: a.example, template: notice.de}]\n"
    )
    (tmp_path / "notice").write_text("Subject: x\n\ny\n")
    loaded = load(path)
    assert loaded.policy is None
    assert loaded.watched == {
        tmp_path / "notice": stamp(tmp_path / "notice"),
        tmp_path / "addresses": None,
        tmp_path / "notice.de": None,
    }


def test_a_template_is_wrong_for_one_kind_of_notice_and_right_for_another(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("Subject: x\n\nIncident {incident}\n")
    text = f"{RULES}{NOTICE}notices: {{to: a@mail.example, template: words"
    assert problems_of(tmp_path, text + "}\n") == []
    (told,) = problems_of(tmp_path, text + ", warning_template: words}\n")
    assert told.startswith(f"{tmp_path}/words:3:10: unknown placeholder {{incident}}; ")


# ---- the file of addresses


def addresses_of(text: str) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    problems = Problems()
    found = addresses(Source.of("addresses", text), problems)
    return dict(found), [f"{p.line}:{p.column} {p.message}" for p in problems.in_order()]


@pytest.mark.parametrize(
    "text",
    [
        "a.example: x@a.example, y@a.example\n",
        "a.example x@a.example y@a.example",
        "a.example:x@a.example,y@a.example  # both",
        "# z.example: z@z.example\n\nA.example.\t:  x@a.example ,y@a.example\r\n",
        "a.example:\n    x@a.example,\n  # not this one\n\ty@a.example\n",
    ],
)
def test_forms_of_the_file_of_addresses(text: str) -> None:
    assert addresses_of(text) == ({"a.example": ("x@a.example", "y@a.example")}, [])


def test_a_file_of_addresses_with_no_end_of_mistakes() -> None:
    _, told = addresses_of("a.example x\n" * 1000)
    assert len(told) == 21
    assert told[-1].endswith(" more lines like the ones above")


@given(
    st.builds(
        "{}@{}".format,
        st.text("ab.+-_{}'\"<>ü", max_size=70),
        st.sampled_from(("a.example", "ü.example", "[192.0.2.1]", "-a.example", "_a.example", "")),
    )
)
def test_what_passes_for_an_address_is_one_for_mail(text: str) -> None:
    if mailable_flaw(text) is None:
        local, _, domain = text.partition("@")
        assert 0 < len(local) <= 64
        assert not set(local) & set("{}'\"<>ü") - {"'"}
        assert ".." not in local
        assert domain in ("a.example", "ü.example")


def test_strikes_of_a_domain_lead_to_notices_and_climb_nothing(tmp_path: Path) -> None:
    rules = RULES.replace("per: account", "per: domain")
    assert notices_of(tmp_path, "{to: a@mail.example}", rules).to == ("a@mail.example",)
