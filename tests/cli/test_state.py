"""``policyd state``: exit codes, what is said, and what is on the disk afterwards."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
from storage.samples import (
    HASHED,
    LEDGERS,
    NOW,
    SECRET,
    TRANSACTION,
    everything,
    flat,
    open_store,
    series,
)

from policyd.cli.main import main
from policyd.storage import recovery
from policyd.storage.contents import Contents
from policyd.storage.files import COPY, DATABASE

VERSION_1 = Path(__file__).parents[1] / "data/state/version-1.sqlite3"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
USAGE = 2


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a directory as a daemon leaves it at a stop."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    recovery.install(directory / DATABASE, Contents(SECRET, ledgers=LEDGERS))
    with open_store(directory) as store:
        store.write(everything(), NOW, snapshot=True)
        store.copy()
        store.write({name: one._replace(buckets=()) for name, one in everything().items()}, NOW)
        store.keep([TRANSACTION])
    return directory


@pytest.fixture
def run(state: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(action: str, *argv: object, directory: Path = state) -> Said:
        code = main(["state", action, "--state", str(directory), *map(str, argv)])
        told = capsys.readouterr()
        assert "Error(" not in told.err
        assert "Traceback" not in told.err
        return Said(code, told.out, told.err)

    return run


Run = Callable[..., Said]


def without_audit(dumped: str) -> list[str]:
    """Return the lines of a dump but for the last two: who made it what it is, and the count."""
    lines = dumped.splitlines()
    assert "audit" in json.loads(lines[-2])
    return lines[:-2]


def audit(state: Path) -> tuple[object, ...]:
    row = recovery.read(state / DATABASE).ledgers["audit"][-1]
    return row["action"], row["subject"], row["by"]


# the command line


@pytest.mark.parametrize(
    "argv",
    [
        *([], ["dmup"], ["dump", "more"], ["verify", "more"], ["restore"], ["restore", "a", "b"]),
        *(["forget"], ["forget", "a", "b"], ["forget", ""], ["forget", " "], ["dump", "--state"]),
    ],
)
def test_what_cannot_be_understood(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["state", *argv])
    assert left.value.code == USAGE
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("usage: policyd ")


def test_help_names_what_can_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["state", "--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert all(f"    {action} " in told for action in ("dump", "verify", "restore", "forget"))


# dump and verify


def test_a_dump_has_everything(run: Run) -> None:
    said = run("dump")
    assert (said.code, said.err) == (0, "")
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert lines[0]["secret"] == SECRET.hex()
    assert {"series": "limit mails", "end": NOW + 60, "key": ["alice"], "sum": 3} in lines
    assert lines[-1]["lines"] == len(lines) - 1


def test_verify_says_what_is_there(run: Run, state: Path) -> None:
    assert run("verify") == Said(
        0,
        f"{state / DATABASE}: good; series: 6, entries: 7, open transactions: 1, ledgers: 5\n"
        f"{state / COPY}: good; series: 6, entries: 7, open transactions: 0, ledgers: 5\n",
        "",
    )


def test_neither_changes_anything(run: Run, state: Path) -> None:
    before = {name: (state / name).read_bytes() for name in (DATABASE, COPY)}
    assert (run("dump").code, run("verify").code) == (0, 0)
    assert {name: (state / name).read_bytes() for name in (DATABASE, COPY)} == before
    with open_store(state):
        pass


def test_both_may_be_used_while_the_daemon_runs(run: Run, state: Path) -> None:
    with open_store(state) as store:
        store.write({"limit mails": series((60, {"new": 5}))}, NOW)
        said = run("dump")
        assert said.code == 0
        assert '"key": ["new"], "sum": 5' in said.out
        assert run("verify").code == 0
        store.write({"limit mails": series((60, {"new": 6}))}, NOW, snapshot=True)
        store.copy()
    assert '"key": ["new"], "sum": 11' in run("dump").out


def test_what_a_killed_daemon_left_is_seen(run: Run, state: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    with open_store(state) as store:
        store.write({"limit mails": series((60, {"new": 5}))}, NOW)
        for name in ("", "-wal", "-shm"):
            data = (state / f"{DATABASE}{name}").read_bytes()
            (killed / f"{DATABASE}{name}").write_bytes(data)
    assert '"key": ["new"], "sum": 5' in run("dump", directory=killed).out
    assert run("forget", "nobody@x.example", directory=killed).code == 0
    assert '"key": ["new"], "sum": 5' in run("dump", directory=killed).out
    assert not (killed / f"{DATABASE}-wal").exists() or run("verify", directory=killed).code == 0


def broken(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE buckets SET end = 1")
        database.commit()
    return r"row \d+ of buckets has changed"


def cut(path: Path) -> str:
    os.truncate(path, 20000)
    return "database disk image is malformed"


def a_text(path: Path) -> str:
    path.write_text("text" * 1000)
    return "file is not a database"


def an_empty_file(path: Path) -> str:
    path.write_text("")
    return "of version 0; a daemon of now makes it 2"


def of_version_1(path: Path) -> str:
    path.write_bytes(VERSION_1.read_bytes())
    return "of version 1; a daemon of now makes it 2"


def a_directory(path: Path) -> str:
    path.unlink()
    path.mkdir()
    return f"{path.name} is no file"


def a_link(path: Path) -> str:
    path.unlink()
    path.symlink_to("nowhere")
    return f"{path.name} is no file"


@pytest.mark.parametrize("name", [DATABASE, COPY])
@pytest.mark.parametrize(
    "damage", [broken, cut, a_text, an_empty_file, of_version_1, a_directory, a_link]
)
def test_verify_finds_what_is_bad_and_looks_at_the_other_as_well(
    run: Run, state: Path, name: str, damage: Callable[[Path], str]
) -> None:
    words = damage(state / name)
    said = run("verify")
    assert said.code == 1
    other = COPY if name == DATABASE else DATABASE
    assert said.out.startswith(f"{state / other}: good; ")
    assert said.out.count("\n") == 1
    assert said.err.startswith(f"policyd: {state / name}: ")
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(said.err)
    if name == DATABASE:
        dumped = run("dump")
        assert (dumped.code, dumped.out, dumped.err) == (1, "", said.err)


@pytest.mark.parametrize("action", [["dump"], ["verify"], ["forget", "a@b"]])
def test_where_there_is_nothing_that_is_said(run: Run, tmp_path: Path, action: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    path = tmp_path / "empty" / DATABASE
    said = run(*action, directory=tmp_path / "empty")
    assert said == Said(1, "", f"policyd: {path}: there is no such file\n")
    assert not path.exists()


@pytest.mark.parametrize("action", [["forget", "a@b"], ["restore", "-"]])
def test_a_directory_that_is_misspelt_is_not_made(
    run: Run, tmp_path: Path, action: list[str]
) -> None:
    said = run(*action, directory=tmp_path / "sate")
    assert said == Said(1, "", f"policyd: {tmp_path / 'sate'}: there is no such directory\n")
    assert not (tmp_path / "sate").exists()


def command(state: Path, *argv: str, **streams: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "policyd", "state", *argv, "--state", str(state)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **streams,
    )


def test_a_dump_that_nobody_reads_to_its_end_ends_quietly(state: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = command(state, "dump", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "policyd: standard output was closed\n")


def test_a_dump_for_which_there_is_no_room_is_a_failure(state: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = command(state, "dump", stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("policyd: ")
    assert done.stderr.endswith("No space left on device\n")
    assert done.stderr.count("\n") == 1


# restore


def test_what_is_dumped_can_be_restored(run: Run, tmp_path: Path) -> None:
    dumped = run("dump").out
    (tmp_path / "dump").write_text(dumped)
    (tmp_path / "new").mkdir()
    said = run("restore", tmp_path / "dump", directory=tmp_path / "new")
    assert said == Said(0, "", "")
    again = run("dump", directory=tmp_path / "new").out
    assert without_audit(again) == dumped.splitlines()[:-1]
    assert audit(tmp_path / "new")[:2] == ("state restore", b"")
    assert {path.name for path in (tmp_path / "new").iterdir()} >= {DATABASE, "lock"}
    modes = {oct(path.stat().st_mode)[-3:] for path in (tmp_path / "new").iterdir()}
    assert modes == {"600"}


def test_a_dump_may_come_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    dumped = run("dump").out
    monkeypatch.setattr(sys, "stdin", StringIO(dumped))
    assert run("restore", "-").code == 0
    assert without_audit(run("dump").out) == dumped.splitlines()[:-1]


def test_what_was_kept_is_renamed_and_the_copy_goes(run: Run, state: Path, tmp_path: Path) -> None:
    (tmp_path / "dump").write_text(run("dump").out)
    before = flat(recovery.read(state / DATABASE).kept)
    with open_store(state) as store:
        store.write({"limit mails": series((60, {"new": 5}))}, NOW)
    said = run("restore", tmp_path / "dump")
    assert said.code == 0
    assert said.out.startswith(f"what was kept is in {state}/{DATABASE}.replaced-")
    aside = Path(said.out.removeprefix("what was kept is in ").strip())
    assert flat(recovery.read(state / DATABASE).kept) == before
    assert flat(recovery.read(aside).kept)["limit mails"][1][60, "new"] == 5
    assert not (state / COPY).exists()


def test_a_state_that_is_broken_can_be_restored(run: Run, state: Path, tmp_path: Path) -> None:
    (tmp_path / "dump").write_text(run("dump").out)
    a_text(state / DATABASE)
    a_text(state / COPY)
    assert run("restore", tmp_path / "dump").code == 0
    assert run("verify").code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda dump: dump[:0], "line 0: the end of the dump is missing"),
        (lambda dump: dump[: len(dump) // 2], "this is no JSON"),
        (lambda dump: dump.rpartition('{"policyd"')[0], "the end of the dump is missing"),
        (lambda dump: dump.replace('"sum": 3', '"sum": -3'), "nothing was counted"),
        (lambda dump: dump.replace('"version": 2', '"version": 3'), "line 1: only version 2"),
        (lambda dump: f"jörg{dump}", "line 1: this is no JSON"),
        (lambda dump: dump.replace('"tries": 2', '"tries": "2"'), "tries of notices is of the"),
    ],
)
def test_a_bad_dump_is_refused_and_what_was_kept_stays(
    run: Run, state: Path, tmp_path: Path, change: Callable[[str], str], words: str
) -> None:
    dumped = run("dump").out
    assert change(dumped) != dumped
    (tmp_path / "dump").write_text(change(dumped))
    before = {path.name: path.read_bytes() for path in state.iterdir() if "-" not in path.name}
    said = run("restore", tmp_path / "dump")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"policyd: {tmp_path / 'dump'}: line ")
    assert words in said.err
    after = {path.name: path.read_bytes() for path in state.iterdir() if "-" not in path.name}
    assert after == before


@pytest.mark.parametrize(
    ("name", "words"), [("none", "No such file or directory"), (".", "Is a directory")]
)
def test_a_dump_that_cannot_be_read_is_told(
    run: Run, tmp_path: Path, name: str, words: str
) -> None:
    said = run("restore", tmp_path / name)
    assert said == Said(1, "", f"policyd: {tmp_path / name}: {words}\n")


@pytest.mark.parametrize("action", [["restore", "dump"], ["forget", "alice"]])
def test_the_daemon_has_to_be_stopped(
    run: Run, state: Path, tmp_path: Path, action: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dumped = run("dump").out
    Path("dump").write_text(dumped)
    with open_store(state):
        said = run(*action)
    assert said == Said(1, "", f"policyd: another policyd uses {state}; stop it first\n")
    assert run("dump").out == dumped
    assert run(*action).code == 0


# forget


def test_somebody_is_forgotten_and_nobody_else(run: Run, state: Path) -> None:
    with open_store(state) as store:
        alice = {
            "limit sums": series((60, {"ann@x.example": 3, "joann@x.example": 1})),
            "limit members": series((60, {"bob": HASHED("ann@x.example") + HASHED("c@x.example")})),
            "likeness domain": series((60, {"ann@x.example": b"\0" * 24})),
            "limit repeat": series((60, {"bob\nann@x.example": 1})),
        }
        store.write(alice, NOW, snapshot=True)
        store.copy()
        store.keep([TRANSACTION._replace(recipients=["ann@x.example"]), TRANSACTION])
    said = run("forget", "Ann@X.example")
    assert said == Said(0, "5 entries deleted\n", "")
    left = recovery.read(state / DATABASE)
    assert flat(left.kept) == {
        "limit sums": ("messages", {(60, "joann@x.example"): 1}),
        "limit members": ("messages", {(60, "bob"): HASHED("c@x.example")}),
        "likeness domain": ("messages", {}),
        "limit repeat": ("messages", {}),
    }
    assert left.transactions == (TRANSACTION,)
    assert left.secret == SECRET
    assert {name: rows for name, rows in left.ledgers.items() if name != "audit"} == {
        name: rows for name, rows in LEDGERS.items() if name != "audit"
    }
    assert left.ledgers["audit"][:-1] == LEDGERS["audit"]
    assert audit(state)[:2] == ("state forget", b"")  # not who was forgotten
    assert not (state / COPY).exists()
    whole = b"".join(path.read_bytes() for path in state.iterdir())
    assert whole.replace(b"joann@x.example", b"").find(b"ann@x.example") < 0


def test_nobody_is_forgotten_in_words_too(run: Run) -> None:
    assert run("forget", "nobody@x.example").out == "0 entries deleted\n"


def test_what_is_not_looked_into_is_named(run: Run, state: Path) -> None:
    (state / f"{DATABASE}.corrupt-17").touch()
    (state / f"{DATABASE}.replaced-18").touch()
    for name in (f"{COPY}.new", f"{DATABASE}.restored.new"):
        (state / name).write_text("alice")
    said = run("forget", "alice")
    assert said.out.splitlines() == [
        "6 entries deleted",
        f"not looked into: {state / DATABASE}.corrupt-17",
        f"not looked into: {state / DATABASE}.replaced-18",
    ]
    assert not (state / f"{COPY}.new").exists()
    assert not (state / f"{DATABASE}.restored.new").exists()


def test_nobody_is_forgotten_in_what_is_broken(run: Run, state: Path) -> None:
    a_text(state / DATABASE)
    said = run("forget", "alice")
    assert said == Said(1, "", f"policyd: {state / DATABASE}: file is not a database\n")
    assert (state / COPY).exists()


# root, and the daemon's own user


@as_root
@pytest.mark.parametrize("action", [["restore", "dump"], ["forget", "alice"]])
def test_what_root_does_is_good_for_the_daemon(
    run: Run, state: Path, tmp_path: Path, action: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon has a user of its own, and takes nothing that is another's."""
    monkeypatch.chdir(tmp_path)
    for path in (state, *state.iterdir()):
        os.chown(path, 65534, 65534)
    (state / "lock").unlink()
    said = run("dump")
    assert said.code == 0
    Path("dump").write_text(said.out)
    assert run("verify").code == 0
    assert run(*action).code == 0
    assert {path.stat().st_uid for path in state.iterdir()} == {65534}
    assert run("verify").code == 0


@as_root
def test_what_is_neither_roots_nor_the_daemons_is_not_touched(run: Run, state: Path) -> None:
    os.chown(state / DATABASE, 65533, 65533)
    said = run("verify")
    assert said.code == 1
    assert f"{state / DATABASE}: {DATABASE} belongs to user 65533, not 0" in said.err
