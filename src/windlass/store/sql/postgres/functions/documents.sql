-- Documents. Whoever locks several locks them by kind and key.

-- Per document the version that is stored, null where another was there than was expected.
CREATE FUNCTION put_documents(
    clock bigint, kinds text[], keys text[], bodies bytea[], expecteds bigint[], keeps bigint[]
) RETURNS TABLE (place integer, version bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    d documents%ROWTYPE;
    there bigint;
BEGIN
    FOR place IN SELECT g.k FROM unnest(kinds, keys) WITH ORDINALITY AS g (kind, key, k)
        ORDER BY g.kind COLLATE "C", g.key COLLATE "C", g.k
    LOOP
        -- Locks what is there; what is not is there now, as one that is over.
        INSERT INTO documents AS x (kind, key, version, expires_at, body) VALUES (kinds[place], keys[place], 0, 0, '')
        ON CONFLICT (kind, key) DO UPDATE SET version = x.version RETURNING x.* INTO d;
        there := CASE WHEN d.expires_at <= t THEN 0 ELSE d.version END;
        IF expecteds[place] IS NULL OR expecteds[place] = there THEN
            version := there + 1;
            UPDATE documents x SET version = there + 1, expires_at = t + keeps[place], body = bodies[place]
            WHERE x.kind = kinds[place] AND x.key = keys[place];
        ELSE
            version := CASE WHEN there = expecteds[place] + 1 AND d.body = bodies[place] THEN there END;
            DELETE FROM documents x WHERE x.kind = kinds[place] AND x.key = keys[place] AND x.version = 0;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

CREATE FUNCTION delete_documents(clock bigint, kind text, keys text[]) RETURNS integer LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    deleted integer;
BEGIN
    PERFORM FROM documents x WHERE x.kind = delete_documents.kind AND x.key = ANY (keys) ORDER BY x.key FOR UPDATE;
    DELETE FROM documents x
    WHERE x.kind = delete_documents.kind AND x.key = ANY (keys) AND (x.expires_at IS NULL OR x.expires_at > t);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END $$;

-- Forgets documents that are there no more; whether there is more to forget.
CREATE FUNCTION forget_documents(t bigint, most integer) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM documents x USING (
        SELECT y.kind, y.key FROM documents y WHERE y.expires_at IS NOT NULL AND y.expires_at <= t
        ORDER BY y.expires_at LIMIT most FOR UPDATE SKIP LOCKED
    ) g WHERE x.kind = g.kind AND x.key = g.key;
    RETURN EXISTS (SELECT FROM documents y WHERE y.expires_at IS NOT NULL AND y.expires_at <= t);
END $$;
