-- name: read_target
SELECT n, state, linked, session, cancel_requested FROM jobs WHERE id = ?;

-- name: request_cancel
UPDATE jobs SET cancel_requested = 1 WHERE n = ?;

-- name: read_dead
SELECT n, state, linked, holds_key, task, unique_key, lane FROM jobs WHERE id = ?;

-- name: replay_job
UPDATE jobs
SET state = ?, seq = ?, failures = 0, losses = 0, snoozes = 0, suspect = 0, cancel_requested = 0, reason = 0,
    due_at = NULL, expires_at = NULL, finished_at = NULL, purge_at = NULL, keep = NULL, undeliverable_since = NULL,
    result = NULL, holds_key = abs(holds_key), aside = limit_key IS NOT NULL, turn = NULL
WHERE n = ?;

-- name: rearm_parents
-- As its parents stand now; one that its parent's end does not satisfy (policy 0: it must succeed) waits for another end
-- of it, a replay. One whose parent is gone keeps the mark that it had.
UPDATE edges SET outcome = (
    SELECT CASE WHEN jobs.state = 4 OR (jobs.state > 4 AND edges.policy > 0) THEN jobs.state END
    FROM jobs WHERE jobs.id = edges.parent
)
WHERE child = ? AND EXISTS (SELECT 1 FROM jobs WHERE jobs.id = edges.parent);

-- name: count_needs
UPDATE jobs
SET needs = (SELECT count(*) FROM edges WHERE child = jobs.n AND policy < 2 AND outcome IS NULL)
WHERE n = ?;

-- name: hold_parents
-- Those that do not count it any more.
UPDATE jobs SET dependants = dependants + 1, keep = coalesce(keep, purge_at - finished_at), purge_at = NULL
WHERE id IN (
    SELECT parent FROM edges
    WHERE child = ?1 AND NOT EXISTS (SELECT 1 FROM releases WHERE job = ?1 AND closed_to < edges.parent)
);

-- name: need_again
-- The dependants of a job that wait, and had been told of its end.
UPDATE jobs SET needs = needs + 1
WHERE state = 0 AND n IN (SELECT child FROM edges WHERE parent = ? AND policy < 2 AND outcome IS NOT NULL);

-- name: rearm_children
UPDATE edges SET outcome = NULL
WHERE parent = ? AND outcome IS NOT NULL AND EXISTS (SELECT 1 FROM jobs WHERE n = child AND state = 0);

-- name: reschedule_job
UPDATE jobs SET due_at = ? WHERE id = ? AND state = 1;

-- name: deletable_job
SELECT n, linked FROM jobs
WHERE id = ?1 AND state >= 4 AND finished_at <= ?2
    AND dependants = 0
    AND NOT EXISTS (SELECT 1 FROM releases WHERE job = jobs.n);

-- name: has_unmarked_parent
SELECT 1 FROM edges WHERE child = ? AND outcome IS NULL LIMIT 1;
