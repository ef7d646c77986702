-- name: read_meta
SELECT version, sequence, sequence_owner, limits_version FROM meta;

-- name: reserve_sequences
UPDATE meta SET sequence = ?, sequence_owner = ?;

-- name: read_version
SELECT version FROM meta;

-- name: set_version
UPDATE meta SET version = ?;

-- name: live_sessions
-- No layout may change these columns: this is asked of older ones.
SELECT record, lease_until FROM sessions WHERE revoked = 0 AND lease_until > ? ORDER BY opened_at;

-- name: has_meta
SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'meta';

-- name: has_tables
SELECT count(*) FROM sqlite_schema;

-- name: find_lane
SELECT n FROM lanes WHERE queue = ? AND requires = ?;

-- name: add_lane
INSERT INTO lanes (queue, requires) VALUES (?, ?);

-- name: read_lane
SELECT queue, requires FROM lanes WHERE n = ?;

-- name: lanes_of_queue
SELECT n FROM lanes WHERE queue = ?;

-- name: find_task
SELECT n FROM tasks WHERE name = ?;

-- name: add_task
INSERT INTO tasks (name) VALUES (?);

-- name: read_task
SELECT name FROM tasks WHERE n = ?;
