-- The state of policyd, version 1. Times are UTC, in seconds since the epoch.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,      -- 'secret': the key of all hashes below
    value BLOB NOT NULL
) STRICT;

CREATE TABLE limits (
    id TEXT PRIMARY KEY,        -- the limit's id in the rule file
    meaning TEXT NOT NULL,      -- what is counted, per what; other counts mean nothing to a limit
    width REAL NOT NULL         -- of its buckets, in seconds
) STRICT;

CREATE TABLE buckets (
    limit_id TEXT NOT NULL,     -- whose counts these are
    number INTEGER NOT NULL,    -- in the order in which the buckets were opened
    start REAL NOT NULL,        -- the time that the bucket stands for
    counts BLOB NOT NULL,       -- counts per key, and hashes of distinct recipients (codec.py)
    PRIMARY KEY (limit_id, number)
) STRICT;

CREATE TABLE likeness_groups (
    serial INTEGER NOT NULL,    -- the group's name, as it stands in keys
    kind TEXT NOT NULL,         -- what its messages are alike within: 'account' or 'domain'
    scope BLOB NOT NULL,        -- which account or domain, in the bytes of the request
    size INTEGER NOT NULL,      -- of its first message, in bytes
    last REAL NOT NULL,         -- when a message last joined it
    PRIMARY KEY (kind, serial)
) STRICT;
