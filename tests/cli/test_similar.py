"""``policyd similar``: what it says of mails, and its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from policyd.cli.main import main

TEXT = (
    "The board of the association invites all members to the general assembly in the great hall "
    "on the second Friday of next month, where the treasurer will report on the accounts."
)
OTHER = (
    "Please find enclosed the minutes of our last meeting; if anything is missing tell me before "
    "Tuesday, as they will be printed then and sent to everybody who has asked for them."
)


def mail(path: Path, text: str, kind: str = "text/plain", subject: str = "News") -> str:
    path.write_text(
        f"Subject: {subject}\n\n{text}\n".replace("\n\n", f"\nContent-Type: {kind}\n\n")
    )
    return str(path)


@pytest.fixture
def names(tmp_path: Path) -> tuple[str, str, str]:
    merged = TEXT.replace("members", "members, Anna Bauer among them,")
    return (
        mail(tmp_path / "1.eml", TEXT),
        mail(tmp_path / "2.eml", f"<p>{merged}</p>", "text/html"),
        mail(tmp_path / "3.eml", OTHER),
    )


def test_alike(names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    one, two, _ = names
    assert main(["similar", one, two]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert (
        told.out
        == f"""\
{one}
  subject   News
  known by  what it says: 29 hashes, of 31 words
{two}
  subject   News
  known by  what it says: 33 hashes, of 35 words

{two} and {one}: 27 of 33 hashes in common, 11 are enough: alike
alike: they count as one mailing
"""
    )


def test_not_alike(names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["similar", *names]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].endswith("0 of 30 hashes in common, 10 are enough: not alike")
    assert lines[-1] == "not alike: they count as 2 mailings"


def test_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = tmp_path / "boilerplate"
    examples.write_text(OTHER)
    one = mail(tmp_path / "1.eml", f"{TEXT}\n{OTHER}\nBob wrote:\n> Well.\n-- \nAnna Bauer")
    assert main(["similar", one, one, "--boilerplate", str(examples)]) == 0
    assert (
        "  left out  quoted: 3 words, signature: 2 words, boilerplate: 30 runs of three words\n"
        in capsys.readouterr().out
    )
    short = mail(tmp_path / "2.eml", f"See you tonight.\n{OTHER}")
    main(["similar", short, short, "--boilerplate", str(examples)])
    assert "attachments: it says next to nothing but boilerplate" in capsys.readouterr().out


def test_short_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = mail(tmp_path / "1.eml", "See you.")
    two = mail(tmp_path / "2.eml", "See you.", subject="Other")
    long = mail(tmp_path / "3.eml", TEXT)
    assert main(["similar", one, one]) == 0
    out = capsys.readouterr().out
    assert "0 attachments: it has 2 words of its own, fewer than 12" in out
    assert f"{one} and {one}: the same" in out
    assert main(["similar", one, two, long]) == 1
    out = capsys.readouterr().out
    assert f"{two} and {one}: not the same" in out
    assert "not alike: one is known by what it says, one by a single hash" in out
    assert out.endswith("not alike: they count as 3 mailings\n")


def test_encrypted_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = mail(tmp_path / "1.eml", "MIAG", "application/pkcs7-mime")
    assert main(["similar", one, one]) == 1
    out = capsys.readouterr().out
    assert "  known by  its size alone: it is encrypted\n" in out
    assert out.endswith(": not to be compared\nnot alike\n")


def test_languages_and_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = mail(tmp_path / "1.eml", "\u4f60\u597d" * 20)
    reply = mail(tmp_path / "2.eml", "BEGIN:VCALENDAR", "text/calendar; method=REPLY")
    assert main(["similar", one, reply]) == 1
    out = capsys.readouterr().out
    assert "  language  written without spaces: each letter is taken for a word\n" in out
    assert "answers an invitation" in out


def test_json(names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    one, two, three = names
    assert main(["similar", "--json", one, two, three]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["alike"] is False
    assert [each["mailing"] for each in told["mails"]] == [1, 1, 2]
    assert told["compared"][0] == {
        "file": two,
        "with": one,
        "shared": 27,
        "of": 33,
        "needed": 11,
        "share": 0.818,
        "alike": True,
    }
    assert told["mails"][2] == {
        "file": three,
        "mailing": 2,
        "subject": "News",
        "known_by": "sketch",
        "hashes": 30,
        "words": 32,
        "quoted_words": 0,
        "signature_words": 0,
        "boilerplate_runs": 0,
        "attachments": 0,
        "unspaced": False,
        "calendar_reply": False,
    }


def test_names_of_files_and_subjects_are_safe_to_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = mail(tmp_path / "\x1b[1m.eml", TEXT, subject="=?utf-8?q?=1B[2m?=")
    main(["similar", one, one])
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["x.eml"], []])
def test_one_mail_is_too_few(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["similar", *argv])
    assert left.value.code == 2
    assert "usage: policyd similar" in capsys.readouterr().err


def test_what_cannot_be_read(names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["similar", names[0], "/no/such/mail"]) == 2
    message = "policyd: /no/such/mail cannot be read: No such file or directory\n"
    assert capsys.readouterr() == ("", message)
    assert main(["similar", *names, "--boilerplate", "/no/such"]) == 2
    assert main(["similar", names[0], "/"]) == 2


def test_it_imports_no_twisted_and_no_rules(names: tuple[str, ...]) -> None:
    program = (
        "import sys; from policyd.cli.main import main; main(sys.argv[1:]); "
        "sys.exit(any(name in sys.modules for name in ('twisted', 'yaml', 'email', 'sqlite3')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "similar", *names],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
