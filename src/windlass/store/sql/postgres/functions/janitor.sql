-- What time brings: due jobs, expiries, the end of retention.

CREATE FUNCTION promote(clock bigint, most integer, keep bigint, edges_most integer) RETURNS TABLE (
    done integer, more boolean, next_at bigint, now bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    part uuid[];
BEGIN
    now := instant(clock);
    -- Expiry first: what expired while it was scheduled does not become ready.
    part := ARRAY(
        SELECT j.id FROM jobs j
        WHERE j.state < 3 AND j.attempt = 0 AND j.expires_at IS NOT NULL AND j.expires_at <= promote.now
        ORDER BY j.expires_at, j.n LIMIT most FOR UPDATE SKIP LOCKED
    );
    done := cardinality(part);
    IF done > 0 THEN
        PERFORM cascade(
            promote.now, finish(promote.now, part, 6::smallint, 2::smallint, promote.keep), edges_most, promote.keep,
            false, false
        );
    END IF;
    part := ARRAY(
        SELECT j.id FROM jobs j WHERE j.state = 1 AND j.due_at <= promote.now
        ORDER BY j.due_at, j.n LIMIT most FOR NO KEY UPDATE SKIP LOCKED
    );
    IF cardinality(part) > 0 THEN
        UPDATE jobs j SET state = 2, pos = (j.pos >> 49 << 49) | g.seq, aside = j.limit_key IS NOT NULL
        FROM (SELECT o.id, nextval('sequences') AS seq FROM unnest(part) AS o (id) OFFSET 0) g WHERE j.id = g.id;
        PERFORM tell_ready(part);
    END IF;
    done := done + cardinality(part);
    SELECT j.due_at INTO next_at FROM jobs j WHERE j.state = 1 ORDER BY j.due_at, j.n LIMIT 1;
    more := coalesce(next_at <= promote.now, false) OR EXISTS (
        SELECT FROM jobs j
        WHERE j.state < 3 AND j.attempt = 0 AND j.expires_at IS NOT NULL AND j.expires_at <= promote.now
    );
    RETURN NEXT;
END $$;

-- Deletes these finished jobs, which are locked, with all that belongs to them. Edges to dependants stay with those.
-- No call that closed them is under way any more; so a parent without open edges whose retention nobody started, because two
-- closed the last of them at once, is found here.
CREATE FUNCTION remove_jobs(t bigint, ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    parents uuid[];
BEGIN
    WITH gone AS (
        DELETE FROM edges WHERE policy >= 0 AND child IN (SELECT id FROM done WHERE id = ANY (ids) AND linked) RETURNING parent
    ) SELECT array_agg(DISTINCT g.parent) INTO parents FROM gone g;
    IF parents IS NOT NULL THEN
        PERFORM begin_retention(t, ARRAY(
            SELECT d.id FROM done d WHERE d.id = ANY (parents) AND d.purge_at IS NULL FOR NO KEY UPDATE SKIP LOCKED
        ));
    END IF;
    DELETE FROM errors WHERE job = ANY (ids);
    DELETE FROM notes WHERE job = ANY (ids);
    DELETE FROM done WHERE id = ANY (ids);
    DELETE FROM bodies WHERE id = ANY (ids);
END $$;

CREATE FUNCTION purge(clock bigint, most integer) RETURNS TABLE (done integer, more boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    part uuid[];
BEGIN
    part := ARRAY(
        SELECT d.id FROM done d WHERE d.purge_at IS NOT NULL AND d.purge_at <= t
        ORDER BY d.purge_at LIMIT most FOR UPDATE SKIP LOCKED
    );
    IF cardinality(part) > 0 THEN PERFORM remove_jobs(t, part); END IF;
    done := cardinality(part);
    more := EXISTS (SELECT FROM done d WHERE d.purge_at IS NOT NULL AND d.purge_at <= t);
    more := forget_schedules(t, most) OR more;
    more := forget_documents(t, most) OR more;
    IF EXISTS (SELECT FROM buckets b WHERE b.full_at <= t) THEN PERFORM drop_full_buckets(t); END IF;
    RETURN NEXT;
END $$;

-- Forgets buckets that are full again: so they are without a row, too. The rate may have changed since it was reckoned
-- when a bucket would be full.
CREATE FUNCTION drop_full_buckets(t bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    b buckets%ROWTYPE;
    l limits;
    still bigint;
BEGIN
    PERFORM lock_limits();
    FOR b IN SELECT * FROM buckets WHERE full_at <= t LIMIT 1000 LOOP
        l := NULL;
        IF b.scope = 2 THEN
            l := record_of_key(b.name);
        ELSE
            SELECT * INTO l FROM limits x WHERE x.scope = b.scope AND x.name = b.name;
        END IF;
        still := CASE WHEN l.rate_count IS NULL THEN 0 ELSE debt_left(b.debt, t - b.at, l.rate_count) END;
        IF still = 0 THEN
            DELETE FROM buckets x WHERE x.scope = b.scope AND x.name = b.name;
        ELSE
            PERFORM put_bucket(b.scope, b.name, still, l.rate_count, t);
        END IF;
    END LOOP;
END $$;
