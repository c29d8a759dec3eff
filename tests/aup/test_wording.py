"""The words of an answer."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policyd.aup.wording import (
    DEFAULT,
    PLACEHOLDERS,
    RETRY,
    Wording,
    duration,
    for_deferral,
    for_rejection,
    mistakes,
    warnings,
)
from policyd.protocol.reply import ROOM, Verdict, reply
from policyd.protocol.request import Stage

ROOMS = sorted(ROOM.values())
VALUES = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=30),
    st.tuples(st.sampled_from("xé\n\u2028ﷺ "), st.integers(50, 3000)).map(lambda of: of[0] * of[1]),
    st.sampled_from(["{account}", "{", "}}", "{0.__class__}", "5.7.1", "250", ""]),
)
LITERALS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60).map(
    lambda text: text.replace("{", "{{").replace("}", "}}")
)
HOLES = st.sampled_from([f"{{{name}}}" for name in sorted(PLACEHOLDERS)])
TEMPLATES = st.lists(st.one_of(LITERALS, HOLES), max_size=12).map("".join)
SOME_VALUES = st.dictionaries(st.sampled_from(sorted(PLACEHOLDERS)), VALUES)


# mistakes


def found(template: str, room: int = 200, *, permanent: bool = False) -> list[str]:
    return list(mistakes(template, room, permanent=permanent))


@pytest.mark.parametrize(
    "template",
    [
        "Bulk mail is not permitted here; see {aup_url}; {used} of {max} recipients in {window}",
        DEFAULT,
        "{account}",
        "braces {{like these}} are meant",
        "x" * 200,
        "{title}" + "x" * 200,
        "The service unavailable to you",
        *[f"x {{{name}}}" for name in sorted(PLACEHOLDERS)],
    ],
)
def test_a_good_text_has_no_mistakes(template: str) -> None:
    assert found(template) == []


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{acount}", ["unknown placeholder {acount}"]),
        ("{a} and {b}", ["unknown placeholder {a}", "unknown placeholder {b}"]),
        ("", ["the text is empty; say why the mail is refused"]),
        (" \t ", ["the text is empty; say why the mail is refused", "'\\t' is not printable"]),
        ("two\nlines", ["'\\n' is not printable ASCII"]),
        ("Grüße", ["'\\xfc' is not printable ASCII"]),
        ("nul\x00", ["'\\x00' is not printable ASCII"]),
        ("del\x7f", ["'\\x7f' is not printable ASCII"]),
        ("Service unavailable", ['"Service unavailable" at the start makes fail2ban ban']),
        ("  SERVICE Unavailable for {account}", ['"SERVICE Unavailable" at the start']),
        ("Relay access denied to {account}", ['"Relay access denied" at the start']),
        ("User unknown; {used} of {max}", ['"User unknown" at the start']),
        ("x" * 201, ["201 bytes and only 200 fit into the reply"]),
        ("{title}" + "x" * 201, ["201 bytes and only 200 fit into the reply"]),
        ("{", ["write {{ or }} for a brace that is meant"]),
        ("}", ["write {{ or }} for a brace that is meant"]),
        ("{}", ["write {{ or }} for a brace that is meant"]),
        ("{0}", ["{0…} is no placeholder"]),
        ("{account.__class__}", ["{account.__class__…} is no placeholder"]),
        ("{account[0]}", ["{account[0]…} is no placeholder"]),
        ("{account!r}", ["{account…} is no placeholder"]),
        ("{account:>9}", ["{account…} is no placeholder"]),
        ("{used:{max}}", ["{used…} is no placeholder"]),
        ("{ account }", ["{ account …} is no placeholder"]),
    ],
)
def test_a_mistake_is_named(template: str, says: list[str]) -> None:
    problems = found(template)
    assert len(problems) == len(says)
    for problem, said in zip(problems, says, strict=True):
        assert said in problem


def test_room_is_counted_for_the_words_alone() -> None:
    assert found("x" * 450, 450) == []
    assert found("x" * 451, 450) == ["451 bytes and only 450 fit into the reply; shorten it"]
    assert found("{{}}" + "x" * 448, 450) == []


@pytest.mark.parametrize(
    ("template", "asks"),
    [
        ("Too much; try again", "'try'"),
        ("Too much; Retry tomorrow", "'Retry'"),
        ("Too much; come back tomorrow", "'come back'"),
        ("Send it later", "'later'"),
        ("Too much; in {retry_after}", "'{retry_after}'"),
    ],
)
def test_what_refuses_for_good_asks_nobody_to_come_back(template: str, asks: str) -> None:
    (problem,) = found(template, permanent=True)
    assert problem.startswith(f"{asks} in a reply that refuses for good")
    assert found(template) == []


@pytest.mark.parametrize("template", ["the entry country retrying lateral", "collateral poetry"])
def test_words_that_merely_contain_such_words_are_no_mistake(template: str) -> None:
    assert found(template, permanent=True) == []


def test_a_colon_before_the_first_semicolon_is_unwise() -> None:
    values = {"aup_url": "https://mail.example/aup"}
    assert list(warnings("Bulk mail: no; see {aup_url}", values)) != []
    assert list(warnings("See {aup_url}; bulk mail", values)) != []
    assert list(warnings("Bulk mail; see: {aup_url}", values)) == []
    assert list(warnings("Bulk mail by {account}; no", values)) == []


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=30), st.booleans())
@example("{a:{b:{c}}}", False)
def test_no_text_raises_and_one_without_mistakes_expands(template: str, permanent: bool) -> None:
    problems = list(mistakes(template, 200, permanent=permanent))
    if not problems:
        assert Wording(template).expand({}, 200)


# expanding


def test_values_stand_where_the_placeholders_were() -> None:
    wording = Wording("{used} of {max}; {{see}} {aup_url}")
    values = {"used": "250", "max": "249", "aup_url": "https://mail.example/aup"}
    assert wording.expand(values, 450) == "250 of 249; {see} https://mail.example/aup"
    assert wording.placeholders == {"used", "max", "aup_url"}


def test_a_placeholder_without_a_value_leaves_nothing() -> None:
    assert Wording("by {account}.").expand({}, 200) == "by ."


def test_a_value_is_not_expanded_again() -> None:
    values = {"sender": "{account}{{}}{0.__class__}", "account": "secret"}
    assert Wording("by {sender}").expand(values, 200) == "by {account}{{}}{0.__class__}"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\r\nb\x00c\x1b[31m\x7fd", "abc[31md"),
        ("x\x0bsasl_username=victim", "xsasl_username=victim"),
        ("a\u2028b\x85c", "abc"),
        ("jörg@例え.test", "jorg@??.test"),
        ("\udcff", "?"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 97 + "..."),
        ("x" * 96 + "  yyy", "x" * 96 + "..."),
    ],
)
def test_a_value_is_made_fit(value: str, shown: str) -> None:
    assert Wording("<{sender}>").expand({"sender": value}, 450) == f"<{shown}>"


def test_a_text_is_cut_at_its_room_and_not_before() -> None:
    assert Wording("x" * 200).expand({}, 200) == "x" * 200
    assert Wording("x" * 201).expand({}, 200) == "x" * 197 + "..."
    exactly = Wording("x" * 100 + "{sender}").expand({"sender": "y" * 100}, 200)
    assert exactly == "x" * 100 + "y" * 100
    assert Wording("x" * 196 + "   yy").expand({}, 200) == "x" * 196 + "..."


@settings(deadline=None, max_examples=300)
@given(TEMPLATES, SOME_VALUES)
def test_what_goes_out_is_one_line_that_fits(template: str, values: dict[str, str]) -> None:
    for stage, room in ROOM.items():
        for wording in (Wording(template), for_deferral(template), for_rejection(template)):
            text = wording.expand(values, room)
            assert 0 < len(text) <= room
            assert text.isascii()
            assert text.isprintable()
            # and nothing is lost on the way
            assert sent(text, stage) == text.strip() or not text.strip()


def sent(text: str, stage: Stage) -> str:
    """Return what the reply says of *text*."""
    data = reply(Verdict("REJECT", "5.7.1", text), stage)
    return data.removeprefix(b"action=REJECT 5.7.1 ").removesuffix(b"\n\n").decode("ascii")


@pytest.mark.parametrize(
    ("template", "values"),
    [
        ("{sender} is over the limit", {"sender": "Service unavailable"}),
        ("{sender} is over the limit", {"sender": "SERVICE UNAVAILABLE" * 50}),
        ("{sender}{client_address}", {"sender": "Service", "client_address": " unavailable"}),
        ("{sender}", {"sender": "Service\n unavailable"}),
        ("{recipient}Service unavailable", {}),
        # the reply has no blanks at its start
        ("{sender} is over the limit", {"sender": " Service unavailable"}),
        ("{recipient} service unavailable", {}),
        ("{sender} is over the limit", {"sender": "match@away.example"}),
    ],
)
def test_no_value_makes_the_reply_one_that_bans_the_client(
    template: str, values: dict[str, str]
) -> None:
    for stage, room in ROOM.items():
        text = sent(Wording(template).expand(values, room), stage)
        assert not text.lower().startswith(("service unavailable", "match@"))
        assert len(text) <= room


@settings(deadline=None, max_examples=300)
@given(TEMPLATES.filter(lambda template: "{retry_after}" not in template), SOME_VALUES)
def test_a_deferral_without_words_for_it_says_when_to_come_back(
    template: str, values: dict[str, str]
) -> None:
    wording = for_deferral(template)
    for room in ROOMS:
        text = wording.expand(values | {"retry_after": "37 minutes"}, room)
        assert text.endswith("; retry in 37 minutes")
        assert len(text) <= room


def test_what_is_cut_is_not_the_time_to_come_back() -> None:
    tail = "; retry in 5 minutes"
    text = for_deferral("x" * 300).expand({"retry_after": "5 minutes"}, 200)
    assert text == "x" * (200 - 3 - len(tail)) + "..." + tail


def test_a_time_to_come_back_in_the_words_is_not_cut_off_by_long_values() -> None:
    wording = for_deferral("{sender} wrote too much to {recipient}; retry in {retry_after}")
    values = {"sender": "x" * 100, "recipient": "y" * 100, "retry_after": "37 minutes"}
    for room in ROOMS:
        assert "37 minutes" in wording.expand(values, room)


def test_a_time_to_come_back_is_not_cut_off_by_words_that_avoid_a_ban() -> None:
    wording = for_deferral("{sender}" + "x" * 160)
    values = {"sender": "Service unavailable", "retry_after": "37 minutes"}
    text = wording.expand(values, 200)
    assert text.startswith("Refused, ")
    assert text.endswith("; retry in 37 minutes")
    assert len(text) <= 200


# temporary and for good


@pytest.mark.parametrize(
    ("template", "expanded"),
    [
        ("Too much", "Too much; retry in 5 minutes"),
        ("Too much; come back in {retry_after}", "Too much; come back in 5 minutes"),
        ("In {retry_after}, not now", "In 5 minutes, not now"),
        ("Retry later", "Retry later; retry in 5 minutes"),
    ],
)
def test_a_deferral_says_when_to_come_back_once(template: str, expanded: str) -> None:
    wording = for_deferral(template)
    assert wording.expand({"retry_after": "5 minutes"}, 200) == expanded
    assert "retry_after" in wording.placeholders


def test_the_words_for_it_are_those_of_the_policy() -> None:
    assert RETRY == "; retry in {retry_after}"


@pytest.mark.parametrize(
    ("template", "kept"),
    [
        ("Too much; see {aup_url}", "Too much; see {aup_url}"),
        ("Too much; retry in {retry_after}", "Too much"),
        ("Too much; try again later; see {aup_url}", "Too much; see {aup_url}"),
        ("Please come back tomorrow", DEFAULT),
        ("{retry_after}; later", DEFAULT),
        ("; later", DEFAULT),
    ],
)
def test_a_refusal_for_good_leaves_out_what_asks_to_come_back(template: str, kept: str) -> None:
    assert for_rejection(template) == Wording(kept)


@settings(deadline=None)
@given(TEMPLATES)
def test_a_refusal_for_good_is_never_a_mistake_for_asking(template: str) -> None:
    wording = for_rejection(template)
    assert not [p for p in mistakes(wording.template, 9999, permanent=True) if "for good" in p]
    assert wording.tail == ""


# durations


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "1 second"),
        (0, "1 second"),
        (0.2, "1 second"),
        (1, "1 second"),
        (1.01, "2 seconds"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (61, "61 seconds"),
        (90, "90 seconds"),
        (119, "119 seconds"),
        (119.5, "2 minutes"),
        (120, "2 minutes"),
        (121, "3 minutes"),
        (600, "10 minutes"),
        (3599, "60 minutes"),
        (3600, "1 hour"),
        (3601, "61 minutes"),
        (5400, "90 minutes"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (7201, "3 hours"),
        (86400, "24 hours"),
        (90000, "25 hours"),
        (172800, "2 days"),
        (172801, "49 hours"),
        (259200, "3 days"),
        (345599, "96 hours"),
        (345601, "5 days"),
        (604800, "7 days"),
        (2592000, "30 days"),
        (34560000, "400 days"),
    ],
)
def test_a_duration_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@settings(deadline=None)
@given(st.floats(1, 10**9))
def test_a_duration_is_never_shorter_than_it_is_and_little_longer(seconds: float) -> None:
    number, unit = duration(seconds).split()
    length = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}[unit.removesuffix("s")]
    assert seconds <= int(number) * length <= max(seconds + 1, seconds * 1.51)
    assert (number == "1") is not unit.endswith("s")


def test_a_clause_that_names_an_incident_goes_where_there_is_none() -> None:
    text = Wording("No bulk mail; incident {incident}; see {aup_url}")
    url = {"aup_url": "https://x.example"}
    assert text.expand(url, 200) == "No bulk mail; see https://x.example"
    assert text.expand(url | {"incident": "K7"}, 200) == (
        "No bulk mail; incident K7; see https://x.example"
    )
    assert Wording("Incident {incident}").expand({}, 200) == "Refused by policy"
    assert Wording("An incident {{incident}}").expand({}, 200) == "An incident {incident}"
