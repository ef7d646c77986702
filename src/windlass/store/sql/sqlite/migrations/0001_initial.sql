-- States: 0 waiting, 1 scheduled, 2 ready, 3 running, 4 succeeded, 5 dead, 6 cancelled (windlass.core.lifecycle).
-- Instants and spans are integers of microseconds.

-- One row: what every transaction looks at first.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    -- The first sequence that nobody has reserved, and the store object that reserved last. It alone may hand out what
    -- is left of its block, so that sequences only ever grow and most transactions need not write this row.
    sequence INTEGER NOT NULL DEFAULT 1,
    sequence_owner BLOB,
    -- Grows with every change of a limit record: copies of them are good while it stands still.
    limits_version INTEGER NOT NULL DEFAULT 0,
    duty BLOB,
    duty_until INTEGER NOT NULL DEFAULT 0
);

-- Names as small integers; rows are never changed or deleted.
CREATE TABLE lanes (
    n INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    requires TEXT NOT NULL,
    UNIQUE (queue, requires)
);
CREATE TABLE tasks (n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE jobs (
    n INTEGER PRIMARY KEY,                  -- from the sequences, so that no number is ever used twice
    id BLOB NOT NULL UNIQUE,
    lane INTEGER NOT NULL,
    task INTEGER NOT NULL,
    state INTEGER NOT NULL,
    rank INTEGER NOT NULL,                  -- 9 - priority, so that an ascending index has the first job first
    seq INTEGER,
    token INTEGER NOT NULL DEFAULT 0,
    session BLOB,
    request INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0,
    linked INTEGER NOT NULL DEFAULT 0,      -- has edges, as parent or as dependant
    settled INTEGER,                        -- the outcome with which (session, token) settled it
    suspect INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    -- 1: holds its unique key until finished, 2: until started; negative: finished, and would take it again on replay.
    holds_key INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    snoozes INTEGER NOT NULL DEFAULT 0,
    reason INTEGER NOT NULL DEFAULT 0,
    enqueued_at INTEGER NOT NULL,
    due_at INTEGER,
    expires_at INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    purge_at INTEGER,
    keep INTEGER,                           -- retention of a finished job with edges, until its last dependant finishes
    undeliverable_since INTEGER,
    unique_key TEXT,
    limit_key TEXT,
    options BLOB,
    payload BLOB NOT NULL,
    result BLOB,
    -- A column takes any type. What somebody else writes must not stop every claim of its lane, so that it is refused
    -- here. (Text is greater than any number, a blob greater than any text, and a check that comes to NULL passes.)
    -- Apart by what changes together: an update looks only at the checks that name what it changes.
    CHECK (id >= x'' AND length(id) = 16),
    CHECK (payload >= x'' AND options >= x''),
    CHECK (rank BETWEEN 0 AND 9 AND enqueued_at < 9e18),
    CHECK (expires_at < 9e18 AND due_at < 9e18),
    CHECK (state BETWEEN 0 AND 6),
    CHECK (token < 9e18 AND attempt < 9e18),
    CHECK (failures < 9e18 AND losses < 9e18 AND snoozes < 9e18),
    CHECK (typeof(seq) = 'integer' OR NOT state BETWEEN 2 AND 3)
);
CREATE INDEX jobs_ready ON jobs (lane, rank, seq) WHERE state = 2 AND suspect = 0;
CREATE INDEX jobs_suspect ON jobs (lane, rank, seq) WHERE state = 2 AND suspect = 1;
CREATE INDEX jobs_due ON jobs (due_at) WHERE state = 1;
CREATE INDEX jobs_held ON jobs (session) WHERE state = 3;
CREATE INDEX jobs_expiry ON jobs (expires_at) WHERE state < 3 AND attempt = 0 AND expires_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_key ON jobs (task, unique_key) WHERE holds_key > 0;
CREATE INDEX jobs_purge ON jobs (purge_at) WHERE purge_at IS NOT NULL;

-- An edge stays until its dependant is purged: marked once with how the parent ended (outcome), closed once the
-- dependant has finished. The parent is named by its id, because it may be purged before the dependant.
CREATE TABLE edges (
    parent BLOB NOT NULL,
    child INTEGER NOT NULL,
    policy INTEGER NOT NULL,
    outcome INTEGER,
    closed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (parent, child)
) WITHOUT ROWID;
CREATE INDEX edges_verdict ON edges (child, policy, outcome);
CREATE INDEX edges_unmarked ON edges (parent, child) WHERE outcome IS NULL;
CREATE INDEX edges_open ON edges (parent) WHERE closed = 0;
CREATE INDEX edges_open_child ON edges (child, parent) WHERE closed = 0;

-- The durable cursor: finished jobs with edges still to mark or to close, in the order in which they finished.
CREATE TABLE releases (k INTEGER PRIMARY KEY, job INTEGER NOT NULL UNIQUE);

CREATE TABLE errors (
    job INTEGER NOT NULL,
    k INTEGER NOT NULL,
    error BLOB NOT NULL,
    PRIMARY KEY (job, k)
) WITHOUT ROWID;
CREATE TABLE notes (
    job INTEGER PRIMARY KEY,
    progress REAL,
    message TEXT,
    log TEXT NOT NULL DEFAULT ''
);

CREATE TABLE sessions (
    id BLOB PRIMARY KEY,
    request INTEGER NOT NULL DEFAULT 0,     -- the last request number seen
    revoked INTEGER NOT NULL DEFAULT 0,
    alone INTEGER NOT NULL DEFAULT 0,       -- was given a suspect, and may still hold it
    lease INTEGER NOT NULL,                 -- the one with which it was opened; others may have another
    lease_until INTEGER NOT NULL,
    renewals INTEGER NOT NULL DEFAULT 0,
    opened_at INTEGER NOT NULL,
    record BLOB NOT NULL                    -- windlass.core.model.Session as JSON
) WITHOUT ROWID;
CREATE TABLE commands (
    session BLOB NOT NULL,
    command TEXT NOT NULL,
    PRIMARY KEY (session, command)
) WITHOUT ROWID;

CREATE TABLE limits (
    scope INTEGER NOT NULL,
    name TEXT NOT NULL,
    paused INTEGER NOT NULL,
    concurrency INTEGER,
    rate_count INTEGER,
    rate_per INTEGER,
    rate_burst INTEGER,
    PRIMARY KEY (scope, name)
) WITHOUT ROWID;
-- Token buckets that are not full. The debt is what is missing, in tokens times `per`; it shrinks by `count` each
-- microsecond, so that all of it is exact in integers. From `full_at` on the row says nothing.
CREATE TABLE buckets (
    scope INTEGER NOT NULL,
    name TEXT NOT NULL,
    debt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    full_at INTEGER NOT NULL,
    PRIMARY KEY (scope, name)
) WITHOUT ROWID;
CREATE INDEX buckets_full ON buckets (full_at);
