"""A database that version 2 wrote: every value of it is there, now and in later versions."""

import shutil
from copy import deepcopy
from pathlib import Path

import pytest
from storage.kept_version_2 import BUCKETS, JOURNAL, LEDGERS, SECRET, TRANSACTIONS
from storage.samples import NOW, flat

from policyd.storage import recovery, rows
from policyd.storage.files import DATABASE
from policyd.storage.pending import Pending
from policyd.storage.store import Store

MADE = Path(__file__).parents[1] / "data/state/version-2.sqlite3"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    shutil.copy(MADE, tmp_path / DATABASE)
    return tmp_path


def test_every_value_is_there(directory: Path) -> None:
    store = Store(directory)
    contents, problems = store.open(NOW)
    store.close()
    together = Pending()
    for kept in (BUCKETS, JOURNAL):
        together.add(deepcopy(kept))
    assert problems == ()
    assert contents.secret == SECRET
    assert flat(contents.kept) == flat(together.series())
    assert contents.transactions == TRANSACTIONS
    assert contents.ledgers == LEDGERS


def test_the_order_in_which_it_was_counted_is_kept(directory: Path) -> None:
    kept = recovery.read(directory / DATABASE).kept
    for name, series in kept.items():
        assert list(series.buckets) == [*BUCKETS[name].buckets, *JOURNAL[name].buckets]


def test_its_tables_are_those_that_this_version_makes(directory: Path) -> None:
    """Also a comment that is changed in the script makes other ones."""
    assert rows.VERSION == 2, "keep this database, and what reads it; make one of the new version"
    recovery.read(directory / DATABASE)
