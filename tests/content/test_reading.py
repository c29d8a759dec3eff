"""A message in, its fingerprint out."""

from base64 import b64encode
from random import Random

import pytest

from policyd.content.fingerprint import Fingerprint, Kind, are_alike, share
from policyd.content.mime import CAP, take_apart
from policyd.content.reader import Boilerplate, Reader, Reading
from policyd.content.sketch import Sketcher

SKETCHER = Sketcher(b"secret")
NONE = Boilerplate(SKETCHER)
TEXT = (
    "The board of the association invites all members to the general assembly in the great hall "
    "on the second Friday of next month, where the treasurer will report on the accounts."
)
DISCLAIMER = (
    "This message is confidential and meant for nobody but its recipient; whoever got it by "
    "mistake is asked to delete it at once and to tell the sender, and may not copy or use it."
)


def reading(data: bytes, boilerplate: Boilerplate = NONE) -> Reading:
    reader = Reader(SKETCHER, boilerplate)
    reader.feed(data)
    return reader.reading()


def known(data: bytes) -> Fingerprint:
    return reading(data).fingerprint


def part(text: str, kind: str = "text/plain", extra: str = "") -> bytes:
    return f"Content-Type: {kind}; charset=utf-8\r\n{extra}\r\n{text}\r\n".encode()


def several(kind: str, *parts: bytes, extra: str = "") -> bytes:
    head = f'Content-Type: multipart/{kind}; boundary="=_b"{extra}\r\n\r\n'.encode()
    return head + b"".join(b"--=_b\r\n" + one + b"\r\n" for one in parts) + b"--=_b--\r\n"


PLAIN = part(TEXT)


def test_a_plain_message() -> None:
    found = known(b"Subject: Assembly\r\n" + PLAIN)
    assert found.kind is Kind.SKETCH
    assert len(found.hashes) == len(TEXT.split()) - 2
    assert found.subject == "Assembly"
    assert not found.is_calendar_reply


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_in_pieces(size: int) -> None:
    data = b"Subject: x\r\n" + several("mixed", PLAIN, part("<p>more</p>", "text/html"))
    reader = Reader(SKETCHER, NONE)
    for at in range(0, len(data), size):
        reader.feed(data[at : at + size])
    assert reader.done() == known(data)


def test_beyond_the_cap() -> None:
    data = part("some text " * (CAP // 10))
    reader = Reader(SKETCHER, NONE)
    reader.feed(data)
    reader.feed(b"and more")
    reader.feed(b"and more")
    assert reader.done() == known(data[:CAP])


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace(b"\r\n", b"\n"),
        part(b64encode(TEXT.encode()).decode(), extra="Content-Transfer-Encoding: base64\r\n"),
        part(
            TEXT.replace("members", "me=\r\nmbers").replace("a", "=61"),
            extra="Content-Transfer-Encoding: Quoted-Printable\r\n",
        ),
        part(f"<p>{TEXT.replace(' ', '<br>', 5)}</p>", "text/html"),
        part(TEXT.upper()),
        several("mixed", PLAIN),
        several("alternative", part("Your program shows no HTML."), part(TEXT, "text/html")),
        several("alternative", PLAIN, part("<html><img src=x></html>", "text/html")),
        several("mixed", several("alternative", PLAIN).replace(b"=_b", b"inner"), b"x: y\r\n\r\n"),
        several("signed", PLAIN, part(TEXT * 2, "application/pgp-signature")),
        several("mixed", part("x", "image/png"), b"Content-Type: message/rfc822\r\n\r\n" + PLAIN),
        b"Content-Type: multipart/mixed; boundary*0==_; boundary*1=b\r\n"
        + several("mixed", PLAIN).partition(b"\r\n")[2],
        b"Content-Type: multipart/mixed;\r\n\tboundary*=us-ascii''=_b\r\n"
        + several("mixed", PLAIN).partition(b"\r\n")[2],
        b"Content-Type: multipart/mixed (comment)\r\n\r\n" + TEXT.encode(),
        b"Content-Type: text/plain; charset=utf-16\r\n\r\n" + TEXT.encode("utf-16"),
        b"\r\n" + TEXT.encode(),
    ],
)
def test_the_same_text_in_other_forms(data: bytes) -> None:
    assert known(data).hashes == known(PLAIN).hashes


def test_a_text_that_is_attached_is_no_text() -> None:
    attached = part(TEXT, extra="Content-Disposition: Attachment; filename=x\r\n")
    assert known(several("mixed", part("See there."), attached)).kind is Kind.EXACT


def test_short_messages() -> None:
    short = part("See you at the pub.")
    head = b"Subject: Tonight\r\n"
    found = known(head + short)
    assert found.kind is Kind.EXACT
    assert len(found.hashes) == 2
    assert known(b"Subject: tonight!\r\n" + short.upper()).hashes == found.hashes
    others = [
        b"Subject: Tomorrow\r\n" + short,
        head + part("See you at the bar."),
        head + several("mixed", short, part("x", "image/png")),
        head + several("mixed", short, part("y", "image/png")),
        head + part("<a href='http://a.example'>See you at the pub.</a>", "text/html"),
        head + part("See you at the pub.\n> Tonight?"),
    ]
    assert len({known(one).hashes for one in (head + short, *others)}) == 7


def test_from_twelve_words_on_there_is_a_sketch() -> None:
    words = TEXT.split()
    assert known(part(" ".join(words[:11]))).kind is Kind.EXACT
    assert known(part(" ".join(words[:12]))).kind is Kind.SKETCH


def test_who_says_next_to_nothing_beside_a_quote() -> None:
    quote = f"\n> {DISCLAIMER}"
    assert known(part(f"Yes.{quote}")).hashes != known(part(f"No.{quote}")).hashes
    assert known(part(f"Yes.{quote}")).kind is Kind.EXACT


def test_boilerplate_by_example() -> None:
    boilerplate = Boilerplate(SKETCHER, [DISCLAIMER])
    found = reading(part(f"{TEXT}\n\n{DISCLAIMER}"), boilerplate)
    assert found.boilerplate == len(DISCLAIMER.split()) - 2
    alone = known(PLAIN)
    assert share(found.fingerprint.hashes, alone.hashes) > 0.9
    first = reading(part(f"See you at the pub tonight.\n\n{DISCLAIMER}"))
    second = reading(part(f"The bill is in the post, Anna.\n\n{DISCLAIMER}"))
    assert are_alike(first.fingerprint.hashes, second.fingerprint.hashes)
    first = reading(part(f"See you at the pub tonight.\n\n{DISCLAIMER}"), boilerplate)
    assert first.fingerprint.kind is Kind.EXACT


PGP = part("\n-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----\n")


@pytest.mark.parametrize(
    "data",
    [
        several("encrypted", part("Version: 1"), extra="; protocol=application/pgp-encrypted"),
        part("MIAGCSqGSIb3DQEHA6CAMIACAQAx", "application/pkcs7-mime; smime-type=enveloped-data"),
        part("MIAGCSqGSIb3DQEHA6CAMIACAQAx", "application/x-pkcs7-mime"),
        PGP,
    ],
)
def test_encrypted(data: bytes) -> None:
    assert known(b"Subject: ...\r\n" + data) == Fingerprint(Kind.UNKNOWN, (), "...")


def test_what_only_claims_to_be_encrypted() -> None:
    lure = part("MIAG", "application/pkcs7-mime")
    assert known(several("mixed", PLAIN, lure)).hashes == known(PLAIN).hashes
    claimed = known(part(f"-----BEGIN PGP MESSAGE-----\n{TEXT} {TEXT}"))
    assert are_alike(claimed.hashes, known(PLAIN).hashes)


def test_answers_to_invitations() -> None:
    reply = part("BEGIN:VCALENDAR", "text/calendar; method=REPLY")
    assert known(several("alternative", PLAIN, reply)).is_calendar_reply
    assert known(several("alternative", PLAIN, reply)).hashes == known(PLAIN).hashes
    assert known(reply).is_calendar_reply
    request = part("BEGIN:VCALENDAR", "text/calendar; method=REQUEST")
    assert not known(several("alternative", PLAIN, request)).is_calendar_reply


@pytest.mark.parametrize(
    ("field", "subject"),
    [
        (b"Subject: plain", "plain"),
        (b"SUBJECT:folded\r\n\tline", "folded line"),
        (b"Subject: =?utf-8?B?R3LDvMOfZQ==?=", "Grüße"),
        (b"Subject: =?iso-8859-1?q?Gr=FC=DFe?= =?utf-8?Q?_an_alle?=", "Grüße an alle"),
        (b"Subject: =?utf-8*de?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"Subject: =?utf-8?B?R3L?=", "=?utf-8?B?R3L?="),
        (b"Subject: a\x1b[1m\xe2\x80\xaeb", "a [1m b"),
        (b"Subject: " + b"x" * 5000, "x" * 200),
        (b"Subject: one\r\nSubject: two", "one"),
        (b"Subject : spaced", "spaced"),
        (b"Subject:", ""),
        (b"From: bob", ""),
        (b" Subject: no field", ""),
    ],
)
def test_subjects(field: bytes, subject: str) -> None:
    assert known(field + b"\r\n\r\ntext").subject == subject


def test_broken_base64_is_read_as_far_as_it_goes() -> None:
    encoded = b64encode(TEXT.encode())
    head = b"Content-Transfer-Encoding: base64\r\n\r\n"
    assert take_apart(head + encoded[:-3]).texts == [TEXT[: len(encoded[:-3]) // 4 * 3]]
    assert take_apart(head + encoded + b"\r\n\r\nA list's footer!").texts[0].startswith(TEXT)
    assert take_apart(head + b"A").texts == []


def test_bounds() -> None:
    assert len(take_apart(several("mixed", *[PLAIN] * 300)).texts) == 99
    nested = PLAIN
    for _ in range(9):
        nested = b"Content-Type: message/rfc822\r\n\r\n" + nested
    assert take_apart(nested).texts == []
    assert take_apart(nested.partition(b"\r\n\r\n")[2]).texts != []


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_broken(seed: int) -> None:
    random = Random(seed)
    data = bytearray(
        b"Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n"
        + several("mixed", PLAIN, part("<p>&lt;a</p>", "text/html"), PGP, part("x", "image/png"))
    )
    for _ in range(200):
        at = random.randrange(len(data))
        data[at : at + random.randrange(3)] = random.randbytes(random.randrange(3))
        known(bytes(data))
