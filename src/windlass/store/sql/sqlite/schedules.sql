-- name: find_schedule
SELECT version, definition, paused, next, last, deleted_at FROM schedules WHERE name = ?;

-- name: put_schedule
INSERT INTO schedules (name, version, definition, paused, next, changed_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE
SET version = excluded.version, definition = excluded.definition, paused = excluded.paused, next = excluded.next,
    changed_at = excluded.changed_at, deleted_at = NULL,
    fired = CASE WHEN deleted_at IS NULL THEN fired ELSE 0 END,
    skipped = CASE WHEN deleted_at IS NULL THEN skipped ELSE 0 END,
    last_job = CASE WHEN deleted_at IS NULL THEN last_job END;

-- name: next_schedule
SELECT next FROM schedules WHERE next IS NOT NULL AND paused = 0 AND deleted_at IS NULL ORDER BY next LIMIT 1;

-- name: delete_schedule
UPDATE schedules SET deleted_at = ?, definition = x'', next = NULL WHERE name = ? AND deleted_at IS NULL;

-- name: forget_schedules
DELETE FROM schedules
WHERE name IN (SELECT name FROM schedules WHERE deleted_at IS NOT NULL AND deleted_at <= ? ORDER BY deleted_at LIMIT ?);

-- name: has_forgettable_schedule
SELECT 1 FROM schedules WHERE deleted_at IS NOT NULL AND deleted_at <= ? LIMIT 1;

-- name: read_schedule
SELECT name, version, definition, paused, next, last, fired, skipped, last_job, changed_at FROM schedules
WHERE name = ? AND deleted_at IS NULL;

-- name: list_schedules
SELECT name, version, definition, paused, next, last, fired, skipped, last_job, changed_at FROM schedules
WHERE name > ? AND deleted_at IS NULL ORDER BY name LIMIT ?;

-- name: due_schedules
-- One more than asked for, due or not: it says when the next one is due.
SELECT name, version, definition, paused, next, last, fired, skipped, last_job, changed_at FROM schedules
WHERE next IS NOT NULL AND paused = 0 AND deleted_at IS NULL ORDER BY next LIMIT ?;

-- name: step_schedule
UPDATE schedules
SET last = ?, next = ?, fired = fired + ?, skipped = skipped + ?, last_job = coalesce(?, last_job) WHERE name = ?;
