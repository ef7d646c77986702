-- name: finish_job
-- With unfinished dependants, retention waits for `lose_dependants`.
UPDATE jobs
SET state = ?, reason = ?, result = ?, settled = coalesce(?, settled), finished_at = ?,
    purge_at = CASE WHEN dependants = 0 THEN ? END, keep = ?,
    holds_key = -holds_key, aside = limit_key IS NOT NULL, turn = NULL
WHERE n = ?;

-- Dependants are let go in the order of their numbers: the one stored first first.

-- name: unmarked_children
SELECT child, policy FROM edges WHERE parent = ? AND child > ? AND outcome IS NULL ORDER BY child LIMIT ?;

-- name: unmarked_children_of
SELECT parent, child, policy FROM edges WHERE parent IN (VALUES (?)...) AND outcome IS NULL LIMIT ?;

-- name: mark_children
UPDATE edges SET outcome = ? WHERE parent = ? AND child > ? AND child <= ? AND outcome IS NULL;

-- name: mark_children_of
UPDATE edges SET outcome = 4 WHERE parent IN (VALUES (?)...) AND outcome IS NULL;

-- name: read_children
-- What judges them: what they need, and which pairs of policy and mark there are besides. (With statistics SQLite would rather
-- go through all edges of a dependant.)
SELECT n, id, state, lane, due_at, needs,
    EXISTS (SELECT 1 FROM edges INDEXED BY edges_unsatisfied WHERE child = n AND policy = 0 AND outcome > 4),
    EXISTS (SELECT 1 FROM edges INDEXED BY edges_wanting_failure WHERE child = n AND policy = 2 AND outcome IS NULL),
    EXISTS (SELECT 1 FROM edges INDEXED BY edges_wanting_failure WHERE child = n AND policy = 2 AND outcome = 4),
    EXISTS (SELECT 1 FROM edges INDEXED BY edges_wanting_failure WHERE child = n AND policy = 2 AND outcome > 4)
FROM jobs WHERE n IN (VALUES (?)...);

-- name: count_marks
UPDATE jobs SET needs = needs - marked.column1
FROM (VALUES (?, ?)...) AS marked WHERE jobs.n = marked.column2;

-- name: let_go
UPDATE jobs SET state = gone.column1, seq = gone.column2, needs = 0, aside = limit_key IS NOT NULL, turn = NULL
FROM (VALUES (?, ?, ?)...) AS gone WHERE jobs.n = gone.column3;

-- name: parents
SELECT parent FROM edges WHERE child = ? AND parent > ? ORDER BY parent LIMIT ?;

-- name: parents_of
SELECT child, parent FROM edges WHERE child IN (VALUES (?)...) LIMIT ?;

-- name: lose_dependants
-- Retention starts with the end of the last one, once the cursor has done with the parent.
UPDATE jobs
SET dependants = dependants - lost.column1,
    purge_at = CASE
        WHEN dependants = lost.column1 AND state >= 4 AND NOT EXISTS (SELECT 1 FROM releases WHERE job = jobs.n)
        THEN ? + keep
    END
FROM (VALUES (?, ?)...) AS lost WHERE jobs.id = lost.column2;

-- name: leave_behind
INSERT INTO releases (job, marked_to, closed_to) VALUES (?, ?, ?)
ON CONFLICT (job) DO UPDATE SET marked_to = excluded.marked_to, closed_to = excluded.closed_to;

-- name: hold_retention
UPDATE jobs SET purge_at = NULL WHERE n = ?;

-- name: left_behind
SELECT jobs.n, jobs.id, jobs.state, marked_to, closed_to
FROM releases JOIN jobs ON jobs.n = releases.job ORDER BY releases.k LIMIT ?;

-- name: catch_up
DELETE FROM releases WHERE job = ?;

-- name: start_retention
UPDATE jobs SET purge_at = ? + keep WHERE n = ? AND dependants = 0;

-- name: any_left_behind
SELECT 1 FROM releases LIMIT 1;
