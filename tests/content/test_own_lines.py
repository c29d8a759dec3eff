"""What a message says itself, beside quotes and signatures."""

from policyd.content.lines import Left, own


def test_nothing_to_leave_out() -> None:
    assert own("one\ntwo - three\n") == Left("one\ntwo - three\n", "", "")


def test_quotes_and_who_is_quoted() -> None:
    left = own("My answer.\n\nOn Monday Bob wrote:\n> his text\n >> older\nThe end.")
    assert left.text == "My answer.\n\nThe end."
    assert left.quoted == "On Monday Bob wrote:\n> his text\n >> older"


def test_a_second_quote() -> None:
    left = own("> a\nFirst.\nBob wrote:\n\n> b\nSecond.")
    assert left == Left("First.\nSecond.", "> a\nBob wrote:\n> b", "")


def test_a_line_between_quotes_stays() -> None:
    assert own("> a\nYes.\n> b").text == "Yes."


def test_a_signature() -> None:
    assert own("Text.\n-- \nBob\n+49 1") == Left("Text.", "", "-- \nBob\n+49 1")
    assert own("Text.\n--\nBob").signature == "--\nBob"


def test_the_footer_of_a_mailing_list() -> None:
    rule = "_" * 47
    assert own(f"Text.\n{rule}\nlist@there.example") == Left(
        "Text.", "", f"{rule}\nlist@there.example"
    )
    assert own("Text.\n_____\nnot long enough").signature == ""


def test_what_is_too_long_for_a_signature() -> None:
    lines = "\n".join(["text"] * 20)
    assert own(f"Text.\n-- \n{lines}").signature == f"-- \n{lines}"
    assert own(f"Text.\n-- \n{lines}\nmore").signature == ""
    assert own(f"Text.\n-- \n{'x' * 900}").signature != ""
    assert own(f"Text.\n-- \n{'x' * 1100}").signature == ""


def test_a_message_that_is_answered_whole() -> None:
    left = own("My answer.\n-----Original Message-----\n\nFrom: bob\nSent: Monday\n\nText.")
    assert left.text == "My answer."
    assert left.quoted.endswith("Text.")
    assert own("Text.\n_____\nFrom: bob\nTo: carol\nText.").text == "Text."


def test_dashes_that_are_no_title() -> None:
    for text in ("-----\nFrom: bob\n\nand\n", "-----\nhttp://a.example\nhttp://b.example", "-----"):
        assert own(text).text == text
