-- The lives of workers: leases, and what becomes of the jobs of those who lost theirs.

CREATE FUNCTION open_session(
    clock bigint, s uuid, its_lease bigint, its_layout integer, its_lanes bigint[], its_record bytea
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t bigint := instant(clock);
BEGIN
    INSERT INTO sessions (id, lease, lease_until, layout, opened_at, lanes, record)
    VALUES (s, its_lease, t + its_lease, its_layout, t, its_lanes, its_record)
    ON CONFLICT (id) DO UPDATE SET layout = excluded.layout, lanes = excluded.lanes, record = excluded.record;
END $$;

CREATE FUNCTION forget_session(s uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM sessions WHERE id = s;
    DELETE FROM commands WHERE session = s;
    PERFORM expect_nothing(s);
    UPDATE duty SET holder = NULL, until = 0 WHERE holder = s;
END $$;

CREATE FUNCTION close_session(clock bigint, s uuid, most integer, keep bigint, edges_most integer) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    held uuid[];
BEGIN
    PERFORM FROM sessions WHERE id = s FOR UPDATE;
    held := ARRAY(SELECT id FROM jobs WHERE state = 3 AND session = s LIMIT most + 1);
    PERFORM give_back(instant(clock), held[1:most], close_session.keep, edges_most);
    IF cardinality(held) > most THEN
        UPDATE sessions SET revoked = true WHERE id = s;
    ELSE
        PERFORM forget_session(s);
    END IF;
END $$;

-- One row; by `version` and `oldest` a worker hears that somebody has migrated the store.
CREATE FUNCTION renew(
    clock bigint, s uuid, ids uuid[], tokens integer[], answered bigint, own_lease bigint, keep bigint, edges_most integer
) RETURNS TABLE (
    version integer, oldest integer, revoked boolean, lost uuid[], cancel uuid[], commands text[], duty boolean, suspects boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    its_lanes bigint[];
    still uuid[];
    d record;
BEGIN
    SELECT m.version, m.oldest INTO version, oldest FROM meta m;
    UPDATE sessions x SET lease_until = t + x.lease, renewals = x.renewals + 1 WHERE x.id = s AND NOT x.revoked
    RETURNING x.lanes INTO its_lanes;
    IF NOT FOUND THEN
        revoked := true;
        RETURN NEXT;
        RETURN;
    END IF;
    revoked := false;
    SELECT coalesce(array_agg(h.id) FILTER (WHERE h.its IS NOT NULL), '{}'),
        coalesce(array_agg(h.id ORDER BY h.k) FILTER (WHERE h.its IS NULL), '{}'),
        coalesce(array_agg(h.id ORDER BY h.k) FILTER (WHERE h.asked), '{}')
    INTO still, lost, cancel
    FROM (
        SELECT g.id, g.k, j.id AS its, j.cancel_requested AS asked
        FROM unnest(ids, tokens) WITH ORDINALITY AS g (id, token, k)
            LEFT JOIN LATERAL (
                SELECT x.id, x.cancel_requested FROM jobs x
                WHERE x.id = g.id AND x.state + 0 = 3 AND x.session = s AND x.token = g.token OFFSET 0
            ) j ON true
    ) h;
    PERFORM give_back(t, ARRAY(
        SELECT j.id FROM jobs j WHERE j.state = 3 AND j.session = s AND j.request <= answered EXCEPT SELECT unnest(still)
    ), renew.keep, edges_most);
    commands := ARRAY(SELECT c.command FROM commands c WHERE c.session = s ORDER BY c.command);
    -- The janitor's work is this session's if it has it, or nobody has it any more. A hint: two may think so for a moment.
    SELECT * INTO d FROM duty x;
    duty := d.holder IS NULL OR d.holder = s OR d.until <= t
        OR NOT EXISTS (SELECT FROM sessions x WHERE x.id = d.holder AND NOT x.revoked AND x.lease_until > t);
    IF duty THEN UPDATE duty x SET holder = s, until = t + own_lease; END IF;
    suspects := EXISTS (SELECT FROM jobs j WHERE j.state = 2 AND j.suspect AND j.lane = ANY (its_lanes));
    RETURN NEXT;
END $$;

CREATE FUNCTION observe(clock bigint) RETURNS TABLE (
    id uuid, renewals bigint, lease_left bigint, revoked boolean, lease bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
BEGIN
    IF EXISTS (SELECT FROM sessions x WHERE x.lease_until > t + x.lease) THEN
        UPDATE sessions x SET lease_until = t + x.lease WHERE x.lease_until > t + x.lease;
    END IF;
    RETURN QUERY
    SELECT x.id, x.renewals, x.lease_until - t, x.revoked, x.lease FROM sessions x
    WHERE x.revoked OR x.lease_until - t < x.lease * 5 / 9 ORDER BY x.opened_at, x.id;
    -- From session to session along the index, however many jobs each holds.
    RETURN QUERY
    WITH RECURSIVE holder (session) AS (
        (SELECT j.session FROM jobs j WHERE j.state = 3 ORDER BY j.session LIMIT 1)
        UNION ALL
        SELECT (SELECT j.session FROM jobs j WHERE j.state = 3 AND j.session > holder.session ORDER BY j.session LIMIT 1)
        FROM holder WHERE holder.session IS NOT NULL
    )
    SELECT h.session, 0::bigint, 0::bigint, true, NULL::bigint FROM holder h
    WHERE h.session IS NOT NULL AND NOT EXISTS (SELECT FROM sessions x WHERE x.id = h.session);
END $$;

CREATE FUNCTION reap(
    clock bigint, ids uuid[], counts bigint[], most integer, max_lost integer, keep bigint, keep_dead bigint,
    edges_most integer
) RETURNS TABLE (done integer, more boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    known sessions%ROWTYPE;
    held uuid[];
    left_over integer := most;
    ended uuid[] := '{}';
    here uuid[];
BEGIN
    more := false;
    FOR i IN 1..cardinality(ids) LOOP
        SELECT * INTO known FROM sessions x WHERE x.id = ids[i] FOR UPDATE;
        IF FOUND AND NOT known.revoked THEN
            CONTINUE WHEN known.lease_until > t OR known.renewals <> counts[i];
            UPDATE sessions x SET revoked = true WHERE x.id = ids[i];
        END IF;
        held := ARRAY(SELECT j.id FROM jobs j WHERE j.state = 3 AND j.session = ids[i] LIMIT left_over + 1);
        IF cardinality(held) > left_over THEN
            more := true;
        END IF;
        -- Whoever settles one of them meanwhile comes first, or finds it taken.
        PERFORM FROM jobs WHERE id = ANY (held) ORDER BY id FOR UPDATE;
        WITH back AS (
            UPDATE jobs j SET
                losses = j.losses + 1,
                state = CASE WHEN j.cancel_requested OR (j.suspect AND j.losses - 1 >= max_lost) THEN 3 ELSE 2 END,
                suspect = CASE
                    WHEN j.cancel_requested OR (j.suspect AND j.losses - 1 >= max_lost) THEN j.suspect
                    ELSE j.losses + 1 >= 2
                END,
                undeliverable_since = CASE
                    WHEN j.cancel_requested OR (j.suspect AND j.losses - 1 >= max_lost) THEN j.undeliverable_since
                END,
                aside = j.limit_key IS NOT NULL
            WHERE j.id = ANY (held[1:left_over]) AND j.state + 0 = 3 AND j.session = ids[i]
            RETURNING j.id, j.state, j.cancel_requested
        )
        SELECT coalesce(array_agg(b.id) FILTER (WHERE b.state = 2), '{}') INTO here FROM back b;
        PERFORM tell_ready(here);
        here := ARRAY(SELECT j.id FROM jobs j WHERE j.id = ANY (held[1:left_over]) AND j.state + 0 = 3
            AND j.session = ids[i] AND j.cancel_requested);
        ended := ended || finish(t, here, 6::smallint, 1::smallint, reap.keep);
        here := ARRAY(SELECT j.id FROM jobs j WHERE j.id = ANY (held[1:left_over]) AND j.state + 0 = 3
            AND j.session = ids[i]);
        ended := ended || finish(t, here, 5::smallint, 5::smallint, keep_dead);
        IF cardinality(held) > left_over THEN
            left_over := 0;
        ELSE
            left_over := left_over - cardinality(held);
            PERFORM forget_session(ids[i]);
        END IF;
    END LOOP;
    PERFORM cascade(t, ended, edges_most, reap.keep, true, false);
    done := most - left_over;
    IF done > 0 THEN PERFORM tell_free_places(); END IF;
    RETURN NEXT;
END $$;

CREATE FUNCTION command(clock bigint, s uuid, what text) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM sessions WHERE id = s AND NOT revoked AND lease_until > instant(clock) FOR KEY SHARE;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO commands (session, command) VALUES (s, what) ON CONFLICT DO NOTHING;
    PERFORM tell('session', replace(s::text, '-', ''));
    RETURN true;
END $$;
