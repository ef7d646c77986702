-- name: finish_job
-- With edges, retention waits for `start_retention`.
UPDATE jobs
SET state = ?, reason = ?, result = ?, settled = coalesce(?, settled), finished_at = ?, purge_at = ?, keep = ?,
    holds_key = -holds_key, aside = limit_key IS NOT NULL, turn = NULL
WHERE n = ?;

-- name: succeed_linked
-- The same for all jobs with edges that one call has succeed: row, result, retention.
UPDATE jobs
SET state = 4, reason = 0, result = done.column2, settled = 1, finished_at = ?, purge_at = NULL, keep = done.column3,
    holds_key = -holds_key, aside = limit_key IS NOT NULL, turn = NULL
FROM (VALUES (?, ?, ?)...) AS done
WHERE jobs.n = done.column1;

-- The indexes of open and unmarked edges are named where SQLite would rather search the primary key, and read all that is
-- closed or marked already before it finds one that is not: with n dependants, n times.

-- Their order is that of the index: the dependant stored first first.

-- name: unmarked_children
SELECT child FROM edges INDEXED BY edges_unmarked WHERE parent = ? AND outcome IS NULL LIMIT ?;

-- name: unmarked_children_of
SELECT parent, child FROM edges INDEXED BY edges_unmarked WHERE parent IN (VALUES (?)...) AND outcome IS NULL LIMIT ?;

-- name: mark_edge
UPDATE edges SET outcome = ? WHERE parent = ? AND child = ?;

-- name: mark_edges
UPDATE edges SET outcome = 4
FROM (VALUES (?, ?)...) AS marked WHERE edges.parent = marked.column1 AND edges.child = marked.column2;

-- name: read_child
SELECT id, state, lane, due_at FROM jobs WHERE n = ?;

-- name: marks
-- Which pairs of policy and mark there are among the edges of a dependant, however many edges it has.
SELECT column1, column2
FROM (VALUES (0, NULL), (0, 4), (0, 5), (0, 6), (1, NULL), (1, 4), (1, 5), (1, 6), (2, NULL), (2, 4), (2, 5), (2, 6))
WHERE EXISTS (SELECT 1 FROM edges WHERE child = ? AND policy = column1 AND outcome IS column2);

-- name: judge_children
-- Both, of several jobs, of those that wait. (For one job it takes longer.)
SELECT jobs.n, jobs.id, jobs.lane, jobs.due_at, pairs.column1, pairs.column2
FROM jobs CROSS JOIN (
    VALUES (0, NULL), (0, 4), (0, 5), (0, 6), (1, NULL), (1, 4), (1, 5), (1, 6), (2, NULL), (2, 4), (2, 5), (2, 6)
) AS pairs
WHERE jobs.n IN (VALUES (?)...) AND jobs.state = 0
    AND EXISTS (SELECT 1 FROM edges WHERE child = jobs.n AND policy = pairs.column1 AND outcome IS pairs.column2);

-- name: let_go
UPDATE jobs SET state = gone.column1, seq = gone.column2, aside = limit_key IS NOT NULL, turn = NULL
FROM (VALUES (?, ?, ?)...) AS gone WHERE jobs.n = gone.column3;

-- name: open_parents
SELECT parent FROM edges INDEXED BY edges_open_child WHERE child = ? AND closed = 0 LIMIT ?;

-- name: open_parents_of
SELECT parent, child FROM edges INDEXED BY edges_open_child WHERE child IN (VALUES (?)...) AND closed = 0 LIMIT ?;

-- name: close_edge
UPDATE edges SET closed = 1 WHERE parent = ? AND child = ?;

-- name: close_edges
UPDATE edges SET closed = 1
FROM (VALUES (?, ?)...) AS closing WHERE edges.parent = closing.column1 AND edges.child = closing.column2;

-- name: start_retention
-- Once no dependant is unfinished, and the cursor has done with it.
UPDATE jobs SET purge_at = ?1 + keep
WHERE id = ?2 AND state >= 4 AND purge_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM edges INDEXED BY edges_open WHERE parent = ?2 AND closed = 0)
    AND NOT EXISTS (SELECT 1 FROM releases WHERE job = jobs.n);

-- name: start_retention_of
UPDATE jobs SET purge_at = ? + keep
WHERE id IN (VALUES (?)...) AND state >= 4 AND purge_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM edges INDEXED BY edges_open WHERE parent = jobs.id AND closed = 0)
    AND NOT EXISTS (SELECT 1 FROM releases WHERE job = jobs.n);

-- name: leave_behind
INSERT OR IGNORE INTO releases (job) VALUES (?);

-- name: left_behind
SELECT jobs.n, jobs.id, jobs.state FROM releases JOIN jobs ON jobs.n = releases.job ORDER BY releases.k LIMIT ?;

-- name: catch_up
DELETE FROM releases WHERE job = ?;

-- name: any_left_behind
SELECT 1 FROM releases LIMIT 1;
