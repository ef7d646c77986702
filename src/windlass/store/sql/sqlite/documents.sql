-- name: get_document
SELECT key, version, expires_at, body FROM documents
WHERE kind = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?);

-- name: list_documents_up
SELECT key, version, expires_at, body FROM documents
WHERE kind = ? AND key > ? AND key < ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY key LIMIT ?;

-- name: list_documents_down
SELECT key, version, expires_at, body FROM documents
WHERE kind = ? AND key > ? AND key < ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY key DESC LIMIT ?;

-- name: put_document
INSERT INTO documents (kind, key, version, expires_at, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE
SET version = excluded.version, expires_at = excluded.expires_at, body = excluded.body;

-- name: delete_document
DELETE FROM documents WHERE kind = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?);

-- name: forget_documents
DELETE FROM documents WHERE rowid IN (
    SELECT rowid FROM documents WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?
);

-- name: has_forgettable_document
SELECT 1 FROM documents WHERE expires_at IS NOT NULL AND expires_at <= ? LIMIT 1;
