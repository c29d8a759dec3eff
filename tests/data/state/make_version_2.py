"""Make version-2.sqlite3, as the release that wrote version 2 does; it was run once.

PYTHONPATH=.:tests python tests/data/state/make_version_2.py
"""

from contextlib import closing
from pathlib import Path

from storage.kept_version_2 import BUCKETS, JOURNAL, LEDGERS, SECRET, TRANSACTIONS

from policyd.storage import recovery
from policyd.storage.contents import Contents
from policyd.storage.files import connect
from policyd.storage.writer import Writer

PATH = Path(__file__).with_name("version-2.sqlite3")

recovery.install(PATH, Contents(SECRET, ledgers=LEDGERS))
with closing(Writer(connect(PATH))) as writer:
    writer.snapshot(BUCKETS, BUCKETS)
    writer.journal(JOURNAL)
    writer.keep(TRANSACTIONS)
PATH.chmod(0o644)
