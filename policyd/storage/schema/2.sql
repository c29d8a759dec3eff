-- The state of policyd, version 2. Times are UTC, in seconds since the epoch.
--
-- Every row has a checksum of its own: the CRC-32 of its table's name and all of its other columns.
-- There is no index, so that whatever is read has been checked.

CREATE TABLE total (
    checksum INTEGER NOT NULL   -- of all rows: their checksums, combined by exclusive or
) STRICT;

CREATE TABLE settings (
    serial INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    name TEXT NOT NULL,         -- 'secret': the key of all hashes below
    value BLOB NOT NULL
) STRICT;

CREATE TABLE series (
    serial INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    name TEXT NOT NULL,         -- 'limit ID', 'likeness SCOPE' or 'verdicts'
    meaning TEXT NOT NULL       -- what is counted, per what; other counts mean nothing to a limit
) STRICT;

CREATE TABLE buckets (          -- a bucket is written in parts, each of them once
    serial INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    series INTEGER NOT NULL,    -- whose counts these are; of no series: waits to be deleted
    end REAL NOT NULL,          -- when the bucket ends
    entries BLOB NOT NULL       -- sums, or hashes of distinct recipients, per key (codec.py)
) STRICT;

CREATE TABLE journal (          -- what was counted since buckets were last written
    serial INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    series INTEGER NOT NULL,    -- all as in buckets
    end REAL NOT NULL,
    entries BLOB NOT NULL
) STRICT;

CREATE TABLE transactions (     -- those that were open at the last clean stop
    serial INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    data TEXT NOT NULL          -- JSON: asking host, attributes, recipients, age in seconds ...
) STRICT;

CREATE TABLE incidents (
    serial INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    id TEXT NOT NULL,           -- the public one, as it stands in replies and notices
    account BLOB NOT NULL,      -- in the bytes of the request; empty for an incident of a domain
    domain BLOB NOT NULL,
    limit_id TEXT NOT NULL,     -- the limit's id in the rule file
    opened REAL NOT NULL,       -- time of the first refusal
    last REAL NOT NULL,         -- time of the latest one
    closed REAL,                -- when it was over; NULL while it is open
    observed INTEGER NOT NULL,  -- 1: the limit observes, nothing was refused
    data TEXT NOT NULL          -- JSON: messages and recipients attempted, clients, sample
) STRICT;

CREATE TABLE suspensions (
    serial INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    id TEXT NOT NULL,           -- kind, name and since
    kind TEXT NOT NULL,         -- 'mailbox' or 'domain'
    name BLOB NOT NULL,         -- which one
    since REAL NOT NULL,
    until REAL,                 -- NULL: until it is lifted
    by TEXT NOT NULL,           -- who suspended: an administrator, or 'ladder'
    reason TEXT NOT NULL,
    incident TEXT NOT NULL,     -- id of the incident that led to it, or empty
    lifted REAL,                -- when an administrator lifted it, NULL if none did
    lifted_by TEXT NOT NULL,    -- who lifted it
    lifted_why TEXT NOT NULL    -- and why
) STRICT;

CREATE TABLE exemptions (       -- those that were granted by command; others are in the rule file
    serial INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    id TEXT NOT NULL,           -- kind and name
    kind TEXT NOT NULL,         -- 'account', 'client' or 'recipient'
    name BLOB NOT NULL,
    since REAL NOT NULL,
    until REAL,                 -- NULL: until it is taken back
    by TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;

CREATE TABLE notices (          -- those that wait to be sent, and early ones so that none is repeated
    serial INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    id TEXT NOT NULL,           -- what it is about: its kind and an incident, or a limit and account
    recipients TEXT NOT NULL,   -- JSON: whom it goes to
    message BLOB NOT NULL,      -- the mail as it is sent
    made REAL NOT NULL,         -- when it was written
    due REAL NOT NULL,          -- when to try next
    tries INTEGER NOT NULL,     -- how often it was tried
    sent REAL                   -- NULL while it waits
) STRICT;

CREATE TABLE audit (            -- what administrators changed
    serial INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    id TEXT NOT NULL,           -- a random one
    time REAL NOT NULL,
    by TEXT NOT NULL,           -- who: the login name
    action TEXT NOT NULL,       -- the command
    subject BLOB NOT NULL,      -- whom or what it was about
    reason TEXT NOT NULL
) STRICT;
