-- States: 0 waiting, 1 scheduled, 2 ready, 3 running, 4 succeeded, 5 dead, 6 cancelled (windlass.core.lifecycle).
-- Instants and spans are integers of microseconds. Names of lanes, queues and tasks stand in the hot rows as hashes of 64
-- bits: a table of names would let a stranger's open transaction that brings a new name hold everybody up.

-- One row: what every verb looks at.
CREATE TABLE meta (
    one integer PRIMARY KEY CHECK (one = 1),
    version integer NOT NULL,
    -- Code that knows this layout, or a newer one, goes on here.
    oldest integer NOT NULL,
    -- Grows with every change of a limit record: bars set under an older version are looked at again.
    limits_version bigint NOT NULL DEFAULT 0
);
CREATE TABLE duty (one integer PRIMARY KEY CHECK (one = 1), holder uuid, until bigint NOT NULL);
INSERT INTO duty VALUES (1, NULL, 0);

-- Positions in lanes, turns of lines, the order in which jobs and edges were stored.
CREATE SEQUENCE sequences;

-- What was enqueued: written once, read by each claim, deleted by purge. An id is stored if it is here, wherever the job
-- itself is.
CREATE TABLE bodies (
    id uuid PRIMARY KEY,
    enqueued_at bigint NOT NULL,
    unique_until smallint,                  -- 1: holds its unique key until finished, 2: until started
    task text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    requires text COLLATE "C" NOT NULL,
    unique_key text COLLATE "C",
    limit_key text COLLATE "C",
    options bytea,
    payload bytea NOT NULL
) WITH (autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_scale_factor = 0.5);

-- What is unfinished. Narrow, since each step of a job's life writes its row anew; with room in each page, and in each page of
-- the key, for the row that a claim writes beside the one before it.
CREATE TABLE jobs (
    pos bigint NOT NULL,                    -- (9 - priority) << 49 | sequence, which is 0 before the first
    lane bigint NOT NULL,
    queue bigint NOT NULL,
    task bigint NOT NULL,
    n bigint NOT NULL,                      -- the order in which jobs were stored
    id uuid PRIMARY KEY WITH (fillfactor = 50),
    session uuid,                           -- of the running, or else of the last, attempt
    token integer NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    losses integer NOT NULL DEFAULT 0,
    snoozes integer NOT NULL DEFAULT 0,
    state smallint NOT NULL CHECK (state BETWEEN 0 AND 3),
    settled smallint,                       -- the outcome with which (session, token) settled it
    suspect boolean NOT NULL DEFAULT false,
    cancel_requested boolean NOT NULL DEFAULT false,
    linked boolean NOT NULL DEFAULT false,  -- has edges, as parent or as dependant
    -- Stands aside from the main line of its lane: it has a limit key, or its task was at its limit when a claim met it.
    aside boolean NOT NULL DEFAULT false,
    -- False where a job with a limit key was stored by somebody else's transaction, which must not touch `lines`: the next
    -- claim in its lane puts it into its line.
    lined boolean NOT NULL DEFAULT true,
    request bigint,
    due_at bigint,
    expires_at bigint,
    started_at bigint,
    undeliverable_since bigint,
    key text COLLATE "C",                   -- the unique key, as long as it holds it
    limit_key text COLLATE "C"
) WITH (
    fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.2
);
CREATE INDEX jobs_ready ON jobs (lane, pos) WHERE state = 2 AND NOT suspect AND NOT aside;
CREATE INDEX jobs_aside ON jobs (lane, task, limit_key, pos) WHERE state = 2 AND NOT suspect AND aside;
CREATE INDEX jobs_suspect ON jobs (lane, pos) WHERE state = 2 AND suspect;
CREATE INDEX jobs_unlined ON jobs (lane, pos) WHERE NOT lined;
CREATE INDEX jobs_due ON jobs (due_at, n) WHERE state = 1;
-- What runs is counted from these two, and never from a counter that a crash could leave wrong.
CREATE INDEX jobs_held ON jobs (session) WHERE state = 3;
CREATE INDEX jobs_held_key ON jobs (limit_key) WHERE state = 3 AND limit_key IS NOT NULL;
CREATE INDEX jobs_expiry ON jobs (expires_at, n) WHERE state < 3 AND attempt = 0 AND expires_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_key ON jobs (task, key) WHERE key IS NOT NULL;

-- What is finished, with its result.
CREATE TABLE done (
    pos bigint NOT NULL,
    lane bigint NOT NULL,
    queue bigint NOT NULL,
    task bigint NOT NULL,
    n bigint NOT NULL,
    id uuid PRIMARY KEY,
    session uuid,
    token integer NOT NULL,
    attempt integer NOT NULL,
    failures integer NOT NULL,
    losses integer NOT NULL,
    snoozes integer NOT NULL,
    state smallint NOT NULL CHECK (state BETWEEN 4 AND 6),
    settled smallint,
    reason smallint NOT NULL,
    suspect boolean NOT NULL,
    cancel_requested boolean NOT NULL,
    linked boolean NOT NULL,
    finished_at bigint NOT NULL,
    due_at bigint,
    expires_at bigint,
    started_at bigint,
    undeliverable_since bigint,
    purge_at bigint,
    keep bigint,                            -- with edges: retention, which starts once the last dependant has finished
    result bytea
) WITH (autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_scale_factor = 0.5);
CREATE INDEX done_purge ON done (purge_at) WHERE purge_at IS NOT NULL;

-- An edge stays until its dependant is purged: marked once with how the parent ended (outcome), closed once the
-- dependant has finished.
CREATE TABLE edges (
    parent uuid NOT NULL,
    child uuid NOT NULL,
    n bigint NOT NULL,                      -- the order in which edges were armed
    policy smallint NOT NULL,
    outcome smallint,
    closed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (parent, child)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX edges_verdict ON edges (child, policy, outcome);
CREATE INDEX edges_unmarked ON edges (parent, n) WHERE outcome IS NULL;
CREATE INDEX edges_open ON edges (parent) WHERE NOT closed;
CREATE INDEX edges_open_child ON edges (child, parent) WHERE NOT closed;

-- The durable cursor: finished jobs with edges still to mark or to close, in the order in which they finished.
CREATE TABLE releases (k bigint PRIMARY KEY DEFAULT nextval('sequences'), job uuid NOT NULL UNIQUE);

-- Text that tasks wrote: as bytes, since it may hold what PostgreSQL's text may not.
CREATE TABLE errors (job uuid NOT NULL, k bigint NOT NULL, error bytea NOT NULL, PRIMARY KEY (job, k));
CREATE TABLE notes (job uuid PRIMARY KEY, progress double precision, message bytea, log bytea NOT NULL DEFAULT '');

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    request bigint NOT NULL DEFAULT 0,      -- the last request number seen
    revoked boolean NOT NULL DEFAULT false,
    alone boolean NOT NULL DEFAULT false,   -- was given a suspect, and may still hold it
    lease bigint NOT NULL,                  -- the one with which it was opened; others may have another
    lease_until bigint NOT NULL,
    renewals bigint NOT NULL DEFAULT 0,
    layout integer NOT NULL,                -- the newest that its code knows
    opened_at bigint NOT NULL,
    lanes bigint[] NOT NULL,
    record bytea NOT NULL                   -- windlass.core.model.Session as JSON
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
CREATE TABLE commands (session uuid NOT NULL, command text COLLATE "C" NOT NULL, PRIMARY KEY (session, command));

CREATE TABLE limits (
    scope smallint NOT NULL,                -- 0 queue, 1 task, 2 limit key or group of them
    name text COLLATE "C" NOT NULL,
    number bigint NOT NULL,                 -- the name, as it stands in the hot rows
    paused boolean NOT NULL,
    concurrency integer,
    rate_count bigint,
    rate_per bigint,
    rate_burst bigint,
    PRIMARY KEY (scope, name)
);
-- Token buckets that are not full. The debt is what is missing, in tokens times `per`; it shrinks by `count` each
-- microsecond, so that all of it is exact in integers. From `full_at` on the row says nothing.
CREATE TABLE buckets (
    scope smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    debt bigint NOT NULL,
    at bigint NOT NULL,
    full_at bigint NOT NULL,
    PRIMARY KEY (scope, name)
) WITH (fillfactor = 50);
CREATE INDEX buckets_full ON buckets (full_at);

-- A row for each (lane, rank, task, limit key) with ready jobs that are not suspect, and no others. Written under the
-- advisory lock `limits` only.
CREATE TABLE lines (
    lane bigint NOT NULL,
    task bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    rank smallint NOT NULL,                 -- 9 - priority
    -- Where it stands: a sequence, drawn at its last turn, or that of its first job as long as it has had none.
    turn bigint NOT NULL,
    had_turn boolean NOT NULL DEFAULT false,
    -- Set while the line is barred, because its key is at its limit: since when, under which version of the limits, and
    -- until when, if it is a rate's bar. Without an end, the end of a running job of the key ends it.
    barred_at bigint,
    barred_under bigint,
    barred_until bigint,
    PRIMARY KEY (lane, task, key, rank)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lines_rotation ON lines (lane, task, rank, turn) WHERE barred_at IS NULL;
CREATE INDEX lines_barred ON lines (barred_under, barred_until) WHERE barred_at IS NOT NULL;
CREATE INDEX lines_barred_at ON lines (barred_at) WHERE barred_at IS NOT NULL;
CREATE INDEX lines_waiting ON lines (lane, barred_until) WHERE barred_until IS NOT NULL;
CREATE INDEX lines_full ON lines (key) WHERE barred_at IS NOT NULL AND barred_until IS NULL;
-- Which of the two has the next turn where jobs with and without a limit key compete; a lane without a row: a line.
CREATE TABLE turns (lane bigint PRIMARY KEY, line_next boolean NOT NULL);

-- Every job, wherever it is: for people, and for what reads one job at a time or in the order of ids.
CREATE VIEW all_jobs AS
SELECT
    b.id, b.task, b.queue, b.requires, b.payload, b.options, b.unique_key, b.limit_key, b.enqueued_at,
    coalesce(j.state, d.state) AS state, coalesce(d.reason, 0::smallint) AS reason,
    (9 - (coalesce(j.pos, d.pos) >> 49))::smallint AS priority, coalesce(j.pos, d.pos) & 562949953421311 AS sequence,
    coalesce(j.token, d.token) AS token, coalesce(j.attempt, d.attempt) AS attempt,
    coalesce(j.failures, d.failures) AS failures, coalesce(j.losses, d.losses) AS losses,
    coalesce(j.snoozes, d.snoozes) AS snoozes, coalesce(j.suspect, d.suspect) AS suspect,
    coalesce(j.cancel_requested, d.cancel_requested) AS cancel_requested, coalesce(j.session, d.session) AS session,
    coalesce(j.linked, d.linked) AS linked, coalesce(j.n, d.n) AS n,
    coalesce(j.due_at, d.due_at) AS due_at, coalesce(j.expires_at, d.expires_at) AS expires_at,
    coalesce(j.started_at, d.started_at) AS started_at,
    coalesce(j.undeliverable_since, d.undeliverable_since) AS undeliverable_since,
    d.finished_at, d.purge_at, d.result
FROM bodies b LEFT JOIN jobs j ON j.id = b.id LEFT JOIN done d ON d.id = b.id;
