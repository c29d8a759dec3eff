"""The deciding rules of the policy, one by one."""

import gc
from dataclasses import replace

import pytest
from aup.building import DAY, HOUR, Desk, external, limit, policy, request

from policyd.aup.address import Accounts, LocalDomains
from policyd.aup.event import Decided, Exceeded
from policyd.aup.match import Matcher, condition, condition_in
from policyd.aup.policy import (
    Action,
    Count,
    EndSession,
    Exemption,
    Likeness,
    LikenessBy,
    Mode,
    Override,
    Recipients,
    Refuse,
)
from policyd.aup.transaction import Connection, Transaction
from policyd.clock import WallTime

DEFER = Action("DEFER", "4.7.1")
ACCOUNTS = Accounts(default_domain="local.example")


def matching(**conditions: str) -> Matcher:
    return Matcher.of(condition(name, [value], ACCOUNTS) for name, value in conditions.items())


def exceeded(desk: Desk, asked: object) -> list[Exceeded]:
    decision = desk.ask(asked)  # type: ignore[arg-type]
    return [event for event in decision.events if isinstance(event, Exceeded)]


# the AUP's own story


def test_exactly_max_recipients_pass_and_one_more_is_refused_whole() -> None:
    desk = Desk(policy(limit(max=249)))
    assert desk.mail(*external(249)) == "DUNNO"
    assert desk.usage("bulk") == 249
    other = Desk(policy(limit(max=249)))
    assert other.mail(*external(250)) == "521"
    assert other.usage("bulk") == 0


def test_of_400_merge_mails_249_pass() -> None:
    desk = Desk(policy(limit(max=249)))
    verbs = [desk.mail(address, size=5000 + n % 64) for n, address in enumerate(external(400))]
    assert verbs == ["DUNNO"] * 249 + ["521"] * 151


def test_local_recipients_never_count() -> None:
    desk = Desk(policy(limit(max=3)))
    assert desk.mail(*[f"u{n}@local.example" for n in range(500)]) == "DUNNO"
    assert desk.usage("bulk") == 0


def test_the_251st_alert_to_one_address_is_refused() -> None:
    desk = Desk(
        policy(limit("repeat", "account likeness recipient", count=Count.MESSAGES, max=250))
    )
    verbs = [desk.mail("pager@away.example") for _ in range(251)]
    assert verbs == ["DUNNO"] * 250 + ["521"]
    assert desk.mail("other@away.example") == "DUNNO"


def test_batches_over_hours_and_days_add_up() -> None:
    desk = Desk(
        policy(
            limit("bulk", max=249),
            limit("batches", max=249, window=7 * DAY),
        )
    )
    for batch in range(4):
        assert desk.mail(*external(60, 60 * batch)) == "DUNNO"
        desk.later(DAY + HOUR)
    assert desk.usage("bulk") == 0
    assert desk.mail(*external(10, 1000)) == "521"
    assert desk.mail(*external(9, 1000)) == "DUNNO"


def test_another_account_is_untouched() -> None:
    desk = Desk(policy(limit(max=3)))
    assert desk.mail(*external(4)) == "521"
    assert desk.mail(*external(3), sasl_username="bob") == "DUNNO"


def test_messages_of_another_size_are_another_mailing() -> None:
    desk = Desk(policy(limit(max=3), likeness=Likeness(tolerance=64)))
    assert desk.mail(*external(3), size=1000) == "DUNNO"
    assert desk.mail(*external(3, 10), size=1064) == "521"
    assert desk.mail(*external(3, 10), size=1065) == "DUNNO"


def test_with_likeness_by_any_all_mail_is_alike() -> None:
    desk = Desk(policy(limit(max=3), likeness=Likeness(by=LikenessBy.ANY)))
    assert desk.mail(*external(3), size=1000) == "DUNNO"
    assert desk.mail(*external(1, 10), size=999_000) == "REJECT"  # at RCPT: the key is known


# rule 1: exemptions


def test_exempt_accounts_and_clients_are_charged_nowhere() -> None:
    rules = policy(
        limit(max=3),
        exemptions=(
            Exemption(matching(account="lists")),
            Exemption(matching(client="198.51.100.0/24")),
        ),
    )
    desk = Desk(rules)
    assert desk.mail(*external(50), sasl_username="lists@LOCAL.example") == "DUNNO"
    assert desk.mail(*external(50), client_address="198.51.100.9") == "DUNNO"
    assert desk.usage("bulk") == 0
    assert desk.mail(*external(4)) == "521"


def test_an_exempt_recipient_exempts_itself_and_never_the_message() -> None:
    rules = policy(limit(max=3), exemptions=(Exemption(matching(recipient="r0@away.example")),))
    desk = Desk(rules)
    assert desk.mail(*external(4)) == "DUNNO"
    assert desk.usage("bulk") == 3
    assert desk.mail(*external(5, 0)) == "521"


def test_an_exemption_ends() -> None:
    desk = Desk(policy(limit(max=3)))
    ends = WallTime(desk.wall + HOUR)
    desk.engine.obey(
        policy(limit(max=3), exemptions=(Exemption(matching(account="alice"), until=ends),)),
        desk.now,
    )
    assert desk.mail(*external(4)) == "DUNNO"
    desk.later(HOUR)
    assert desk.mail(*external(4)) == "521"


# rule 2: over the limit already


def test_a_sender_over_the_limit_is_told_at_the_first_recipient_and_at_every_later_one() -> None:
    desk = Desk(policy(limit("daily", "account", max=3)))
    assert desk.mail(*external(3)) == "DUNNO"
    desk.next_message()
    assert [desk.rcpt(r) for r in ("x@away.example", "y@away.example", "u@local.example")] == [
        "REJECT"
    ] * 3
    assert desk.usage("daily") == 3


def test_only_the_first_recipient_is_tested_before_the_end() -> None:
    desk = Desk(policy(limit("daily", "account", max=3)))
    assert desk.mail(*external(3)) == "DUNNO"
    desk.next_message()
    assert desk.rcpt("u@local.example") == "DUNNO"
    assert desk.rcpt("x@away.example") == "DUNNO"
    assert desk.end(2) == "521"


def test_known_recipients_still_pass_when_the_limit_is_reached() -> None:
    desk = Desk(policy(limit("daily", "account", max=3)))
    desk.mail(*external(3))
    assert desk.mail(*external(3)) == "DUNNO"
    assert desk.usage("daily") == 3


# rules 3 and 4: single recipients


def test_a_recipient_too_many_is_refused_and_not_part_of_the_message() -> None:
    desk = Desk(policy(limit("each", "account", max=2, refuse=Refuse.RECIPIENT)))
    desk.next_message()
    assert [desk.rcpt(r) for r in external(4)] == ["DUNNO", "DUNNO", "REJECT", "REJECT"]
    assert desk.end(2) == "DUNNO"
    assert desk.usage("each") == 2


def test_reservations_keep_parallel_sessions_within_the_budget() -> None:
    desk = Desk(
        policy(limit("each", "account", max=250, refuse=Refuse.RECIPIENT, count=Count.RECIPIENTS))
    )
    sessions = [Connection("mx") for _ in range(100)]
    passed = 0
    for number in range(5):
        for at, session in enumerate(sessions):
            asked = request("RCPT", f"r{at}-{number}@away.example", instance=f"{at}.1.1.0")
            passed += desk.ask(asked, session).verdict.verb == "DUNNO"
    assert passed == 250


def test_a_recipient_that_two_transactions_hold_is_reserved_once() -> None:
    desk = Desk(policy(limit("each", "account", max=2, refuse=Refuse.RECIPIENT)))
    one, two = Connection("mx"), Connection("mx")
    for session, name in ((one, "1.1.1.1"), (two, "2.2.2.2")):
        asked = request("RCPT", "same@away.example", instance=name)
        assert desk.ask(asked, session).verdict.verb == "DUNNO"
    asked = request("RCPT", "second@away.example", instance="1.1.1.1")
    assert desk.ask(asked, one).verdict.verb == "DUNNO"
    desk.engine.disconnect(one, desk.now)
    desk.later(6)  # "second" is let go of, "same" is still held by two
    for address, verb in (("x", "DUNNO"), ("y", "REJECT")):
        asked = request("RCPT", f"{address}@away.example", instance="2.2.2.2")
        assert desk.ask(asked, two).verdict.verb == verb


def test_a_message_reserves_itself_once_however_many_recipients_it_has() -> None:
    desk = Desk(
        policy(limit("few", "account", max=1, refuse=Refuse.RECIPIENT, count=Count.MESSAGES))
    )
    assert desk.mail(*external(3)) == "DUNNO"
    assert desk.usage("few") == 1
    assert desk.mail(*external(1)) == "REJECT"


def test_all_limits_are_tested_before_any_is_reserved() -> None:
    desk = Desk(
        policy(
            limit("a", "account", max=5, refuse=Refuse.RECIPIENT),
            limit("b", "account", max=1, refuse=Refuse.RECIPIENT),
        )
    )
    desk.next_message()
    for recipient in external(5):
        desk.rcpt(recipient)
    figures = {
        name: figures.reserved
        for event in desk.ask(request("RCPT", "z@away.example", instance="9")).events
        if isinstance(event, Decided)
        for name, figures, _ in event.figures
    }
    assert figures == {"a": 0, "b": 0}  # the new instance ended the transaction that held
    assert desk.mail("r0@away.example") == "DUNNO"
    assert desk.usage("a") == 1


# rule 5: the transaction's own set


def test_a_retry_a_double_listing_and_a_recipient_named_twice_count_once() -> None:
    desk = Desk(policy(limit("all", "account", count=Count.RECIPIENTS, max=100)))
    desk.next_message()
    for address in ("A@Away.example", "a@away.example.", "a@AWAY.EXAMPLE", "b@away.example"):
        assert desk.rcpt(address) == "DUNNO"
    assert desk.end(4) == "DUNNO"
    assert desk.usage("all") == 2


def test_recipients_that_we_were_not_asked_about_do_not_count() -> None:
    desk = Desk(policy(limit("all", "account", count=Count.RECIPIENTS, max=100)))
    desk.next_message()
    desk.rcpt("a@away.example")
    assert desk.end(3) == "DUNNO"  # and a bare postmaster, and a probe
    assert desk.usage("all") == 1


def test_when_later_checks_left_one_recipient_it_is_the_set() -> None:
    desk = Desk(policy(limit("each", "account recipient", count=Count.MESSAGES, max=1)))
    desk.next_message()
    for recipient in external(3):
        desk.rcpt(recipient)
    assert desk.end(1, recipient="r1@away.example") == "DUNNO"
    assert [desk.mail(recipient) for recipient in external(3)] == ["DUNNO", "REJECT", "DUNNO"]


def test_when_later_checks_refused_some_the_latest_are_dropped() -> None:
    desk = Desk(policy(limit("each", "account recipient", count=Count.MESSAGES, max=1)))
    desk.next_message()
    for recipient in external(3):
        desk.rcpt(recipient)
    assert desk.end(2) == "DUNNO"
    assert [desk.mail(recipient) for recipient in external(3)] == ["REJECT", "REJECT", "DUNNO"]


def test_without_a_set_the_count_and_the_single_recipient_stand_in() -> None:
    desk = Desk(policy(limit("daily", "account", max=5)))
    desk.next_message()
    assert desk.end(4) == "DUNNO"
    assert desk.usage("daily") == 4
    desk.next_message()
    assert desk.end(1, recipient="u@local.example") == "DUNNO"
    assert desk.usage("daily") == 4
    desk.next_message()
    assert desk.end(1, recipient="r@away.example") == "DUNNO"
    assert desk.usage("daily") == 5
    desk.next_message()
    assert desk.end(1, recipient="r@away.example") == "DUNNO"
    desk.next_message()
    assert desk.end(2) == "521"  # stand-ins are distinct from all others


# rule 6: all or none, and the strongest answer


def test_a_refused_message_is_charged_to_no_limit() -> None:
    desk = Desk(policy(limit("wide", "account", max=100), limit("narrow", "account", max=3)))
    assert desk.mail(*external(4)) == "521"
    assert (desk.usage("wide"), desk.usage("narrow")) == (0, 0)


def test_of_several_the_strongest_answers_then_the_first() -> None:
    rules = policy(
        limit("defer", "account", count=Count.RECIPIENTS, max=5, action=DEFER),
        limit("first", "account", count=Count.RECIPIENTS, max=5),
        limit("second", "account", count=Count.RECIPIENTS, max=4),
        end_session=EndSession.NO,
    )
    desk = Desk(rules)
    desk.mail(*external(3))
    desk.next_message()
    desk.rcpt("u@local.example")
    for recipient in external(3, 10):
        desk.rcpt(recipient)
    (event,) = exceeded(
        desk, request("END-OF-MESSAGE", recipient_count=4, instance="1.2.1.0", queue_id="Q")
    )
    assert (event.limit.id, event.verdict.verb) == ("first", "REJECT")


def test_a_deferral_that_can_never_pass_is_a_rejection_and_says_no_retry() -> None:
    rules = policy(
        limit("burst", "account", max=3, action=DEFER, text="Slow down; retry in {retry_after}"),
        end_session=EndSession.NO,
    )
    desk = Desk(rules)
    desk.mail(*external(2))
    desk.next_message()
    for recipient in external(2, 10):
        desk.rcpt(recipient)
    verdict = desk.ask(
        request("END-OF-MESSAGE", recipient_count=2, instance="1.2.1.0", queue_id="Q")
    ).verdict
    assert verdict.verb == "DEFER"
    assert verdict.status == "4.7.1"
    assert verdict.text == "Slow down; retry in 25 hours"
    desk.next_message()
    for recipient in external(4, 20):
        desk.rcpt(recipient)
    verdict = desk.ask(
        request("END-OF-MESSAGE", recipient_count=4, instance="1.3.1.0", queue_id="Q")
    ).verdict
    assert (verdict.verb, verdict.status, verdict.text) == ("REJECT", "5.7.1", "Slow down")


def test_the_end_of_the_session_is_asked_of_old_postfix_only() -> None:
    for version, verb in (("", "521"), ("3.8.19", "521"), ("3.8.20", "REJECT"), ("3.12", "REJECT")):
        desk = Desk(policy(limit(max=3)))
        desk.next_message()
        for recipient in external(4):
            desk.rcpt(recipient)
        assert desk.end(4, mail_version=version) == verb
    for setting, verb in ((EndSession.YES, "521"), (EndSession.NO, "REJECT")):
        assert Desk(policy(limit(max=3), end_session=setting)).mail(*external(4)) == verb


# rule 7: a transaction that goes on after a refusal


def test_after_a_refusal_the_set_is_empty_and_figures_count_from_there() -> None:
    rules = policy(
        limit("daily", "account", max=3),
        limit("volume", "account", count=Count.BYTES, max=10_000),
        end_session=EndSession.NO,
    )
    desk = Desk(rules)
    desk.next_message()
    for recipient in external(4):
        desk.rcpt(recipient)
    assert desk.end(4, size=2000) == "REJECT"
    assert desk.rcpt("r9@away.example") == "DUNNO"
    # Postfix adds up: 4 refused and 1 new, 2000 bytes and 300
    assert desk.end(5, size=2300, queue_id="next") == "DUNNO"
    assert (desk.usage("daily"), desk.usage("volume")) == (1, 300)


def test_after_a_refusal_without_rcpt_the_stand_ins_count_from_there_too() -> None:
    desk = Desk(policy(limit("daily", "account", max=3), end_session=EndSession.NO))
    desk.next_message()
    assert desk.end(4) == "REJECT"
    assert desk.end(6, queue_id="next") == "DUNNO"
    assert desk.usage("daily") == 2


# rule 8: repeated requests


def test_a_repeated_end_gets_the_same_answer_and_counts_nothing() -> None:
    desk = Desk(policy(limit("daily", "account", max=3)))
    assert desk.mail(*external(2)) == "DUNNO"
    desk.connection = Connection("mx")
    assert desk.end(2) == "DUNNO"
    assert desk.usage("daily") == 2
    desk.next_message()
    for recipient in external(4, 10):
        desk.rcpt(recipient)
    asked = request("END-OF-MESSAGE", recipient_count=4, instance="1.2.1.0", queue_id="Q2")
    first = desk.ask(asked).verdict
    desk.later(299)
    again = desk.ask(asked, Connection("mx"))
    assert again.verdict == first
    assert [event for event in again.events if isinstance(event, Exceeded)] == []


def test_a_verdict_is_forgotten_after_300_seconds() -> None:
    desk = Desk(policy(limit("daily", "account", max=300)))
    desk.mail(*external(2))
    desk.later(300)
    assert desk.end(2) == "DUNNO"  # by now a message of its own, with stand-ins
    assert desk.usage("daily") == 4


# would-be refusals


@pytest.mark.parametrize(
    ("changes", "verb"),
    [
        ({"mode": Mode.OBSERVE}, "DUNNO"),
        ({"action": Action("WARN")}, "WARN"),
        ({"action": Action("HOLD")}, "HOLD"),
        ({"mode": Mode.OBSERVE, "action": Action("HOLD")}, "DUNNO"),
    ],
)
def test_a_would_be_refusal_passes_and_charges_only_the_other_limits(
    changes: dict[str, object], verb: str
) -> None:
    desk = Desk(
        policy(limit("noted", "account", max=3, **changes), limit("other", "account", max=9))
    )
    assert desk.mail(*external(4)) == verb
    assert (desk.usage("noted"), desk.usage("other")) == (0, 4)
    assert desk.mail(*external(3)) == "DUNNO"
    assert desk.usage("noted") == 3


def test_a_would_be_refusal_is_told_once_a_message() -> None:
    rules = policy(
        limit("noted", "account", max=1, mode=Mode.OBSERVE, refuse=Refuse.RECIPIENT),
    )
    desk = Desk(rules)
    desk.next_message()
    told = []
    for recipient in external(4):
        told += exceeded(desk, request("RCPT", recipient, instance="1.1.1.0"))
    told += exceeded(desk, request("END-OF-MESSAGE", recipient_count=4, instance="1.1.1.0"))
    assert [(event.limit.id, event.refused) for event in told] == [("noted", False)]
    assert desk.usage("noted") == 0


def test_a_group_is_not_prolonged_by_mail_that_is_not_counted_in_it() -> None:
    desk = Desk(policy(limit(max=3, mode=Mode.OBSERVE, window=DAY)))
    desk.mail(*external(3), size=1000)
    for _ in range(3):
        desk.later(DAY / 3)
        desk.mail(*external(4), size=1000)
    desk.later(HOUR)
    # the group of size 1000 has ended, so that 1050 opens its own and 1100 is like it
    assert desk.mail(*external(3, 10), size=1050) == "DUNNO"
    assert exceeded(
        desk, request("END-OF-MESSAGE", recipient_count=1, instance="x", queue_id="x", size=1100)
    )


# letting go


def reserved(desk: Desk) -> int:
    decided = desk.ask(
        request("RCPT", "probe@away.example", instance="probe"), Connection("probe")
    ).events[-1]
    assert isinstance(decided, Decided)
    desk.engine.transactions.close(
        next(t for t in desk.engine.transactions if t.instance == "probe")
    )
    return decided.figures[0][1].reserved


def reserving() -> Desk:
    desk = Desk(policy(limit("each", "account", max=99, refuse=Refuse.RECIPIENT)))
    desk.next_message()
    for recipient in external(5):
        desk.rcpt(recipient)
    assert reserved(desk) == 5
    return desk


def test_another_instance_on_the_connection_lets_go() -> None:
    desk = reserving()
    desk.next_message()
    desk.rcpt("x@away.example")
    assert reserved(desk) == 1


def test_a_closed_connection_lets_go_after_5_seconds() -> None:
    desk = reserving()
    desk.engine.disconnect(desk.connection, desk.now)
    desk.later(4.9)
    assert reserved(desk) == 5
    desk.later(0.2)
    assert reserved(desk) == 0


def test_a_transaction_may_come_back_on_another_connection() -> None:
    desk = reserving()
    desk.engine.disconnect(desk.connection, desk.now)
    desk.later(4)
    desk.connection = Connection("mx")
    desk.rcpt("r0@away.example")
    desk.later(10)
    assert reserved(desk) == 5
    assert desk.end(5) == "DUNNO"
    assert desk.usage("each") == 5


def test_after_an_hour_the_reservations_go_and_the_set_stays() -> None:
    desk = reserving()
    desk.later(3600)
    assert reserved(desk) == 0
    assert desk.end(5) == "DUNNO"
    assert desk.usage("each") == 5


def test_two_connections_of_one_smtpd_share_a_transaction() -> None:
    desk = Desk(policy(limit("all", "account", count=Count.RECIPIENTS, max=100)))
    second = Connection("mx")
    for session in (desk.connection, second):
        desk.ask(request("RCPT", "a@away.example", instance="7"), session)
    desk.engine.disconnect(second, desk.now)
    desk.later(60)
    desk.ask(request("END-OF-MESSAGE", recipient_count=1, instance="7", queue_id="Q"))
    assert desk.usage("all") == 1


def test_the_same_instance_of_another_host_is_another_transaction() -> None:
    desk = Desk(policy(limit("all", "account", count=Count.RECIPIENTS, max=100)))
    desk.ask(request("RCPT", "a@away.example", instance="7"), Connection("mx1"))
    desk.ask(request("RCPT", "b@away.example", instance="7"), Connection("mx2"))
    assert len(desk.engine.transactions) == 2


# who a limit holds to


def test_without_an_account_limits_that_need_one_do_not_apply() -> None:
    desk = Desk(policy(limit(max=0), limit("client", "client_address", max=2)))
    assert desk.mail(*external(2), sasl_username="") == "DUNNO"
    assert desk.mail(*external(3), sasl_username="") == "521"


def test_match_and_unless() -> None:
    rules = policy(
        limit("a", "account", max=0, match=matching(policy_context="submission")),
        limit("b", "account", max=0, unless=matching(client="192.0.2.0/24", helo_name="web")),
    )
    desk = Desk(rules)
    assert desk.mail("x@away.example") == "DUNNO"
    assert desk.mail("x@away.example", policy_context="submission") == "REJECT"
    assert desk.mail("x@away.example", client_address="198.51.100.1") == "REJECT"
    assert desk.mail("x@away.example", client_address="198.51.100.1", helo_name="WEB") == "DUNNO"


def test_conditions_on_the_recipient_choose_among_the_recipients() -> None:
    rules = policy(
        limit("a", "account", max=1, match=matching(recipient_domain=".example")),
        limit("b", "account", max=1, unless=matching(recipient="/^r/")),
    )
    desk = Desk(rules)
    assert desk.mail("r1@away.example", "r2@else.test", "r3@else.test") == "DUNNO"
    assert (desk.usage("a"), desk.usage("b")) == (1, 0)


def test_the_first_override_that_matches_wins_per_limit() -> None:
    rules = policy(
        limit("bulk", "account", max=1),
        limit("daily", "account", max=1),
        overrides=(
            Override(matching(account="alice"), {"daily": 5}),
            Override(matching(domain="local.example"), {"bul*": None, "daily": 2}),
        ),
    )
    desk = Desk(rules)
    assert desk.mail(*external(5)) == "DUNNO"
    assert (desk.usage("bulk"), desk.usage("daily")) == (0, 5)
    assert desk.mail(*external(3), sasl_username="bob") == "521"


def test_an_override_ends() -> None:
    desk = Desk(policy(limit("daily", "account", max=1)))
    override = Override(matching(account="alice"), {"daily": 5}, until=WallTime(desk.wall + HOUR))
    desk.engine.obey(policy(limit("daily", "account", max=1), overrides=(override,)), desk.now)
    assert desk.mail(*external(2)) == "DUNNO"
    desk.later(HOUR)
    assert desk.mail("x@away.example") == "REJECT"


def test_a_number_on_a_shared_key_is_this_accounts_maximum_of_the_shared_usage() -> None:
    rules = policy(
        limit("domain", "domain", max=3),
        overrides=(Override(matching(account="ceo"), {"domain": 5}),),
    )
    desk = Desk(rules)
    assert desk.mail(*external(3)) == "DUNNO"
    assert desk.mail("x@away.example", "y@away.example", sasl_username="ceo") == "DUNNO"
    assert desk.mail("z@away.example", sasl_username="ceo") == "REJECT"


def test_accounts_from_a_list() -> None:
    listed = condition_in("account", ["alice", "BOB@local.example"], ACCOUNTS, "premium")
    rules = policy(
        limit("daily", "account", max=1), overrides=(Override(Matcher((listed,)), {"*": 2}),)
    )
    desk = Desk(rules)
    assert desk.mail(*external(2)) == "DUNNO"
    assert desk.mail(*external(2), sasl_username="bob") == "DUNNO"
    assert desk.mail(*external(2), sasl_username="carol") == "521"


def test_bytes_and_messages_count_a_message_once_if_it_has_such_a_recipient() -> None:
    rules = policy(
        limit("volume", "account", count=Count.BYTES, max=10_000),
        limit("mails", "account", count=Count.MESSAGES, max=100),
        limit("inside", "account", count=Count.MESSAGES, max=100, recipients=Recipients.LOCAL),
        limit("every", "account", count=Count.RECIPIENTS, max=100, recipients=Recipients.ALL),
    )
    desk = Desk(rules)
    desk.mail(*external(3), "u@local.example", size=700)
    desk.mail("u@local.example", size=900)
    usage = {name: desk.usage(name) for name in ("volume", "mails", "inside", "every")}
    assert usage == {"volume": 700, "mails": 1, "inside": 2, "every": 5}


def test_other_stages_pass_and_count_nothing() -> None:
    desk = Desk(policy(limit("daily", "account", max=0, recipients=Recipients.ALL)))
    for stage in ("CONNECT", "EHLO", "HELO", "MAIL", "DATA", "VRFY", "ETRN", "", "rcpt"):
        assert desk.ask(request(stage, "x@away.example")).verdict.verb == "DUNNO"
    assert len(desk.engine.transactions) == 0


def test_a_request_without_instance_stands_for_itself() -> None:
    desk = Desk(policy(limit("daily", "account", max=3)))
    for recipient in external(3):
        asked = request("RCPT", recipient, instance="")
        assert desk.ask(asked).verdict.verb == "DUNNO"
    assert len(desk.engine.transactions) == 0
    asked = request("END-OF-MESSAGE", recipient_count=3, instance="")
    assert desk.ask(asked).verdict.verb == "DUNNO"
    assert desk.usage("daily") == 3


# new rules


def test_raising_and_lowering_max_keeps_the_counts() -> None:
    desk = Desk(policy(limit("daily", "account", max=3)))
    desk.mail(*external(3))
    assert desk.engine.obey(policy(limit("daily", "account", max=5)), desk.now) == []
    assert desk.mail(*external(2, 10)) == "DUNNO"
    desk.engine.obey(policy(limit("daily", "account", max=2)), desk.now)
    assert desk.mail("r0@away.example") == "REJECT"  # 5 used, and it asks for nothing more
    assert desk.usage("daily") == 5


def test_a_changed_window_keeps_what_is_held() -> None:
    desk = Desk(policy(limit("daily", "account", max=3, window=DAY)))
    desk.mail(*external(2))
    desk.later(HOUR)
    assert (
        desk.engine.obey(policy(limit("daily", "account", max=3, window=2 * HOUR)), desk.now) == []
    )
    assert desk.usage("daily") == 2
    desk.later(HOUR + 301)
    assert desk.usage("daily") == 0


@pytest.mark.parametrize(
    "changes",
    [{"per": "domain"}, {"count": Count.MESSAGES}, {"recipients": Recipients.ALL}],
)
def test_a_limit_that_counts_something_else_starts_empty(changes: dict[str, object]) -> None:
    desk = Desk(policy(limit("daily", "account"), limit("other", "account")))
    desk.mail(*external(2))
    changed = limit("daily", **({"per": "account"} | changes))  # type: ignore[arg-type]
    emptied = desk.engine.obey(policy(changed, limit("other", "account")), desk.now)
    assert emptied == ["daily"]
    assert (desk.usage("daily"), desk.usage("other")) == (0, 2)


def test_another_identity_starts_every_limit_empty() -> None:
    desk = Desk(policy(limit("daily", "account")))
    rules = policy(limit("daily", "account"), accounts=Accounts(strip_extension="+"))
    assert desk.engine.obey(rules, desk.now) == ["daily"]


def test_open_transactions_are_held_to_the_new_rules() -> None:
    desk = Desk(policy(limit("each", "account", max=5, refuse=Refuse.RECIPIENT)))
    desk.next_message()
    for recipient in external(3):
        desk.rcpt(recipient)
    rules = policy(
        limit("each", "account", max=4, refuse=Refuse.RECIPIENT),
        local=LocalDomains(["local.example", "away.example"]),
    )
    desk.engine.obey(replace(rules, local=LocalDomains(["local.example"])), desk.now)
    assert desk.rcpt("x@away.example") == "DUNNO"
    assert desk.rcpt("y@away.example") == "REJECT"
    desk.engine.obey(rules, desk.now)  # now they are all local
    assert desk.end(4) == "DUNNO"
    assert desk.usage("each") == 0


def test_a_refused_transaction_may_go_on_once_the_sender_is_exempt() -> None:
    desk = Desk(policy(limit("daily", "account", max=0)))
    desk.next_message()
    assert desk.rcpt("a@away.example") == "REJECT"
    exempt = (Exemption(matching(account="alice")),)
    desk.engine.obey(policy(limit("daily", "account", max=0), exemptions=exempt), desk.now)
    assert desk.rcpt("a@away.example") == "DUNNO"
    assert desk.end(1, recipient="a@away.example") == "DUNNO"


def test_an_exemption_that_ends_before_the_message_does_leaves_the_message_to_be_decided() -> None:
    exempt = (Exemption(matching(account="alice")),)
    desk = Desk(policy(limit("daily", "account", max=3), exemptions=exempt))
    desk.next_message()
    for recipient in external(5):
        assert desk.rcpt(recipient) == "DUNNO"
    desk.engine.obey(policy(limit("daily", "account", max=3)), desk.now)
    assert desk.end(5) == "521"


def test_a_request_without_instance_reserves_nothing() -> None:
    rules = policy(limit("each", "account", max=2, refuse=Refuse.RECIPIENT))
    desk = Desk(rules)
    for recipient in external(5):
        assert desk.ask(request("RCPT", recipient, instance="")).verdict.verb == "DUNNO"


def test_transactions_that_are_over_are_not_kept() -> None:
    desk = Desk(policy(limit("daily", "account", max=999)))
    before = transactions_in_memory()
    for recipient in external(50):
        desk.mail(recipient)
        desk.next_message()
        desk.rcpt(recipient)  # and this one is aborted
    assert transactions_in_memory() - before == 1


def transactions_in_memory() -> int:
    gc.collect()
    return sum(isinstance(thing, Transaction) for thing in gc.get_objects())
