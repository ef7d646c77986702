-- name: insert_ready
-- The common case. The row group is repeated as often as there are jobs: one step of SQLite for many rows leaves the
-- interpreter to the other threads meanwhile.
INSERT INTO jobs (n, id, lane, task, state, rank, seq, enqueued_at, payload, limit_key, options, aside, turn)
VALUES (?, ?, ?, ?, 2, ?, ?, ?, ?, ?, ?, ?, ?)...
ON CONFLICT (id) DO NOTHING;

-- name: insert_plain
-- The same without limit keys and options: each NULL that is bound costs the driver a search for an adapter.
INSERT INTO jobs (n, id, lane, task, state, rank, seq, enqueued_at, payload)
VALUES (?, ?, ?, ?, 2, ?, ?, ?, ?)...
ON CONFLICT (id) DO NOTHING;

-- name: insert_job
INSERT INTO jobs (
    n, id, lane, task, state, rank, seq, linked, needs, holds_key, reason, enqueued_at, due_at, expires_at, finished_at,
    purge_at, keep, unique_key, limit_key, options, payload, aside
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING;

-- name: insert_linked
-- Jobs that wait for others, and are otherwise plain.
INSERT INTO jobs (n, id, lane, task, state, rank, linked, needs, enqueued_at, limit_key, options, payload, aside)
VALUES (?, ?, ?, ?, 0, ?, 1, ?, ?, ?, ?, ?, ?)...
ON CONFLICT (id) DO NOTHING;

-- name: find_jobs
SELECT id, n, state FROM jobs WHERE id IN (VALUES (?)...);

-- name: find_job
SELECT n, state, linked FROM jobs WHERE id = ?;

-- name: key_holder
SELECT n, id, state, linked FROM jobs WHERE task = ? AND unique_key = ? AND holds_key > 0;

-- name: insert_edge
INSERT INTO edges (parent, child, policy, outcome) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: insert_open_edge
INSERT INTO edges (parent, child, policy) VALUES (?, ?, ?)... ON CONFLICT DO NOTHING;

-- name: find_edges
-- Not by IN: for pairs SQLite would search all edges.
SELECT edges.parent, edges.child
FROM (VALUES (?, ?)...) AS wanted CROSS JOIN edges ON edges.parent = wanted.column1 AND edges.child = wanted.column2;

-- name: find_edge
SELECT 1 FROM edges WHERE parent = ? AND child = ?;

-- name: gain_dependants
-- Retention starts when the last dependant has finished, so that a finished parent leaves the purge index.
UPDATE jobs
SET linked = 1, dependants = dependants + gained.column1, keep = coalesce(keep, purge_at - finished_at), purge_at = NULL
FROM (VALUES (?, ?)...) AS gained WHERE jobs.n = gained.column2;

-- name: gain_needs
UPDATE jobs SET needs = needs + gained.column1
FROM (VALUES (?, ?)...) AS gained WHERE jobs.n = gained.column2;

-- name: gain_parent
UPDATE jobs SET linked = 1 WHERE n = ?;
