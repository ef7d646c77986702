-- name: open_session
INSERT INTO sessions (id, lease, lease_until, opened_at, record) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET record = excluded.record;

-- name: renew_session
UPDATE sessions SET lease_until = ? + lease, renewals = renewals + 1 WHERE id = ? AND revoked = 0 RETURNING record;

-- name: session_commands
SELECT command FROM commands WHERE session = ? ORDER BY command;

-- name: read_duty
SELECT duty, duty_until FROM meta;

-- name: take_duty
UPDATE meta SET duty = ?, duty_until = ?;

-- name: lay_down_duty
UPDATE meta SET duty = NULL, duty_until = 0 WHERE duty = ?;

-- name: any_suspect
SELECT 1 FROM jobs WHERE state = 2 AND suspect = 1 LIMIT 1;

-- name: suspect_in_lane
SELECT 1 FROM jobs WHERE state = 2 AND suspect = 1 AND lane = ? LIMIT 1;

-- name: held_by
SELECT n, id, token, request, cancel_requested, linked, lane FROM jobs WHERE state = 3 AND session = ?;

-- name: some_held_by
SELECT n, id, linked, lane, cancel_requested, losses, suspect FROM jobs WHERE state = 3 AND session = ? LIMIT ?;

-- name: read_session
SELECT revoked, lease_until, renewals FROM sessions WHERE id = ?;

-- name: revoke_session
UPDATE sessions SET revoked = 1 WHERE id = ?;

-- name: forget_session
DELETE FROM sessions WHERE id = ?;

-- name: forget_commands
DELETE FROM commands WHERE session = ?;

-- name: clamp_leases
UPDATE sessions SET lease_until = ?1 + lease WHERE lease_until > ?1 + lease;

-- name: any_lease_ahead
SELECT 1 FROM sessions WHERE lease_until > ? + lease LIMIT 1;

-- name: watched_sessions
SELECT id, renewals, lease_until, revoked, lease FROM sessions
WHERE revoked = 1 OR lease_until < ? + lease * 5 / 9 ORDER BY opened_at, id;

-- name: next_holder
-- One step from session to session along the index, however many jobs each holds.
SELECT min(session) FROM jobs WHERE state = 3 AND session > ?;

-- name: lose_to_lane
UPDATE jobs SET state = 2, settled = NULL, losses = losses + 1, suspect = ?, aside = limit_key IS NOT NULL, turn = NULL,
    undeliverable_since = NULL
WHERE n = ?;

-- name: count_loss
UPDATE jobs SET settled = NULL, losses = losses + 1 WHERE n = ?;

-- name: add_command
INSERT INTO commands (session, command) VALUES (?, ?) ON CONFLICT DO NOTHING;
