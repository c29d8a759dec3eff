"""A database that is cut short or has changed: what is opened is the truth, or it is said.

The short form tries some of it; POLICYD_FAULTS=long all of it. POLICYD_FAULTS_SEED repeats a run.
"""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from storage.samples import LEDGERS, NOW, SECRET, TRANSACTION, everything, flat, series

from policyd.storage import recovery
from policyd.storage.contents import Contents
from policyd.storage.files import COPY, DATABASE
from policyd.storage.store import Store

LONG = os.environ.get("POLICYD_FAULTS", "short") == "long"
SEED = int(os.environ.get("POLICYD_FAULTS_SEED") or random.SystemRandom().getrandbits(32))
EVERY = 1 if LONG else 499  # odd: with a copy and without take turns
FLIPS = 10_000 if LONG else 200


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory as a clean stop leaves it, with a copy that is older."""
    directory = tmp_path_factory.mktemp("made")
    recovery.install(directory / DATABASE, Contents(SECRET, everything(), ledgers=LEDGERS))
    store = Store(directory)
    store.open(NOW)
    store.copy()
    counted = {name: one._replace(buckets=()) for name, one in everything().items()}
    counted["limit mails"] = series((60, {"alice": 4, "carol": 1}))
    store.write(counted, NOW, snapshot=True)
    store.write(counted, NOW)
    store.keep([TRANSACTION])
    store.close()
    return directory


def said(contents: Contents) -> object:
    return contents.secret, flat(contents.kept), contents.transactions, contents.ledgers


class Trial:
    """A database that has *data* instead of what was written; next to a copy, or to none."""

    def __init__(self, made: Path, place: Path) -> None:
        self._path = place / DATABASE
        self._copy = made / COPY
        self.good = (made / DATABASE).read_bytes()
        self._truth = said(recovery.read(made / DATABASE))
        self._copied = said(recovery.read(made / COPY))
        self.noticed = 0

    def run(self, data: bytes, *, copied: bool) -> None:
        directory = self._path.parent
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        self._path.write_bytes(data)
        if copied:
            shutil.copy(self._copy, directory / COPY)
        store = Store(directory)
        contents, problems = store.open(NOW)
        store.close()
        if not problems:
            assert said(contents) == self._truth
            return
        self.noticed += 1
        assert "cannot be read" in problems[0]
        if copied:
            assert "goes on from" in problems[1]
            assert said(contents) == self._copied
        else:
            assert (contents.kept, contents.transactions) == ({}, ())
        assert (directory / f"{DATABASE}.corrupt-{NOW:.0f}").exists()


@pytest.fixture
def trial(made: Path, tmp_path: Path) -> Iterator[Trial]:
    trial = Trial(made, tmp_path / "state")
    yield trial
    print(f"{trial.noticed} noticed; POLICYD_FAULTS_SEED={SEED}")


def test_a_database_that_is_cut_short_is_noticed(trial: Trial) -> None:
    lengths = range(random.Random(SEED).randrange(EVERY), len(trial.good), EVERY)
    for length in lengths:
        trial.run(trial.good[:length], copied=length % 2 == 0)
    assert trial.noticed == len(lengths), f"POLICYD_FAULTS_SEED={SEED}"


def test_a_flipped_bit_is_noticed_or_means_nothing(trial: Trial) -> None:
    choose = random.Random(SEED)
    for number in range(FLIPS):
        bit = choose.randrange(8 * len(trial.good))
        data = bytearray(trial.good)
        data[bit // 8] ^= 1 << bit % 8
        try:
            trial.run(bytes(data), copied=number % 2 == 0)
        except BaseException as error:
            error.add_note(f"bit {bit}, POLICYD_FAULTS_SEED={SEED}")
            raise


def test_many_flipped_bits_are_noticed(trial: Trial) -> None:
    choose = random.Random(SEED)
    for number in range(FLIPS // 10):
        data = bytearray(trial.good)
        for _ in range(choose.randrange(2, 200)):
            data[choose.randrange(len(data))] = choose.randrange(256)
        try:
            trial.run(bytes(data), copied=number % 2 == 0)
        except BaseException as error:
            error.add_note(f"number {number}, POLICYD_FAULTS_SEED={SEED}")
            raise


def test_every_flipped_bit_of_what_was_counted_is_noticed(trial: Trial) -> None:
    """Here nothing is slack: the entries as they stand in the file."""
    at = trial.good.index(b"pdS3")
    for bit in range(8 * at, 8 * (at + 40), 1 if LONG else 7):
        data = bytearray(trial.good)
        data[bit // 8] ^= 1 << bit % 8
        before = trial.noticed
        trial.run(bytes(data), copied=True)
        assert trial.noticed == before + 1, bit
