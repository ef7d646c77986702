-- Reading documents.

-- name: get_documents
-- In the order of the call.
SELECT x.kind, x.key, x.version, x.expires_at, x.body
FROM unnest($3::text[]) WITH ORDINALITY AS g (key, k)
    LEFT JOIN windlass.documents x ON x.kind = $2 AND x.key = g.key
        AND (x.expires_at IS NULL OR x.expires_at > windlass.instant($1))
ORDER BY g.k;

-- name: list_documents_up
SELECT x.kind, x.key, x.version, x.expires_at, x.body FROM windlass.documents x
WHERE x.kind = $2 AND x.key > $3 COLLATE "C" AND x.key < $4 COLLATE "C"
    AND (x.expires_at IS NULL OR x.expires_at > windlass.instant($1))
ORDER BY x.key LIMIT $5;

-- name: list_documents_down
SELECT x.kind, x.key, x.version, x.expires_at, x.body FROM windlass.documents x
WHERE x.kind = $2 AND x.key > $3 COLLATE "C" AND x.key < $4 COLLATE "C"
    AND (x.expires_at IS NULL OR x.expires_at > windlass.instant($1))
ORDER BY x.key DESC LIMIT $5;
