-- What the verbs share. The last migration pins the search path of every function, so that names mean what they mean here.

-- The store's clock: the server's, unless a test brings another.
CREATE FUNCTION instant(clock bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(clock, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
$$;

-- A name as 64 bits, as `windlass.store.postgres.names` makes it too.
CREATE FUNCTION number_of(name text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT ('x' || substr(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 1, 16))::bit(64)::bigint
$$;

-- A hint, sent at the commit. Equal ones within a transaction are one.
CREATE FUNCTION tell(kind text, what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('windlass/' || current_schema() || '/' || kind, what);
END $$;

-- So many jobs are ready in a lane. A few are told to as few of the sessions that found nothing there (see `await_jobs`), and to
-- one more: one may be cut off or stopped without the server having heard of it. Who is named, behind the queue, looks; others
-- who can read it do not, and for code of layout 2 it is a hint like any other. A hint is used up: who was told and finds
-- nothing enters again. All are told where too few stand there, since somebody may wait who does not; of more than fifty jobs;
-- and by a stranger's transaction, which might hold rows for long. So are they where nobody sweeps: each look at the lane
-- would pass over all that has left it.
CREATE FUNCTION tell_lane(its_lane bigint, its_queue text, jobs bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    wanted integer := least(jobs, 51) + 1;
    named bigint[] := '{}';
    alive bigint[];
    rows tid[];
BEGIN
    IF wanted < 52 AND coalesce(current_setting('windlass.beside_lines', true), '') <> 'on'
        AND pg_relation_size('idle'::regclass) BETWEEN 1 AND 2097152
    THEN
        FOR try IN 1..4 LOOP
            -- The lock of a connection that is gone is to be had.
            WITH near AS MATERIALIZED (
                SELECT i.ctid AS at, i.listener FROM idle i WHERE i.lane = its_lane
                ORDER BY i.place LIMIT wanted - cardinality(named) FOR UPDATE SKIP LOCKED
            )
            SELECT array_agg(n.at), array_agg(n.listener) FILTER (WHERE NOT pg_try_advisory_xact_lock_shared(n.listener))
            INTO rows, alive FROM near n;
            EXIT WHEN rows IS NULL OR cardinality(rows) < wanted - cardinality(named);
            DELETE FROM idle WHERE ctid = ANY (rows);
            named := named || alive;
            EXIT WHEN cardinality(named) = wanted;
        END LOOP;
    END IF;
    IF cardinality(named) < wanted THEN named := '{}'; END IF;
    PERFORM tell('ready', its_queue || coalesce((SELECT string_agg(' #' || to_hex(n.listener), '') FROM unnest(named) AS n (listener)), ''));
END $$;

-- Enters a session that found nothing in these lanes.
CREATE FUNCTION await_jobs(s uuid, its_lanes bigint[], its_listener bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF EXISTS (SELECT FROM idle WHERE session = s AND (listener <> its_listener OR lane <> ALL (its_lanes))) THEN
        DELETE FROM idle WHERE ctid = ANY (ARRAY(
            SELECT i.ctid FROM idle i WHERE i.session = s AND (i.listener <> its_listener OR i.lane <> ALL (its_lanes))
            FOR UPDATE SKIP LOCKED
        ));
    END IF;
    INSERT INTO idle (lane, place, session, listener)
    SELECT g.lane, random(), s, its_listener FROM unnest(its_lanes) AS g (lane)
    WHERE NOT EXISTS (SELECT FROM idle i WHERE i.session = s AND i.lane = g.lane);
END $$;

-- A session is idle no more. Whoever holds one of its rows is telling it of a job.
CREATE FUNCTION expect_nothing(s uuid) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM idle WHERE ctid = ANY (ARRAY(SELECT i.ctid FROM idle i WHERE i.session = s FOR UPDATE SKIP LOCKED));
END $$;

-- Those of these jobs that are ready.
CREATE FUNCTION tell_ready(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_lane(g.lane, g.queue, g.jobs) FROM (
        SELECT j.lane, b.queue, count(*) AS jobs FROM jobs j JOIN bodies b ON b.id = j.id
        WHERE j.id = ANY (ids) AND j.state + 0 = 2 GROUP BY j.lane, b.queue
    ) g;
END $$;

-- Jobs that finished: up to 64 by name, more as all there are.
CREATE FUNCTION tell_finished(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(ids) > 64 THEN
        PERFORM tell('finished', '*');
    ELSIF cardinality(ids) > 0 THEN
        PERFORM tell('finished', replace(array_to_string(ids, ' '), '-', ''));
    END IF;
END $$;

-- A job was scheduled: say so if none is due earlier.
CREATE FUNCTION tell_scheduled(due bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM jobs WHERE state = 1 AND due_at < due) THEN
        PERFORM tell('scheduled', '');
    END IF;
END $$;

-- Those who found nothing, because all that may run did run, hear that something has ended. Which queues have jobs under
-- the same limit is not known here; a hint too many costs one look.
CREATE FUNCTION tell_free_places() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM limits WHERE concurrency IS NOT NULL) THEN
        PERFORM tell('ready', '*');
    END IF;
END $$;

-- Advisory locks: numbers that nobody else is likely to use. `limits` is held, exclusively, by whoever reads or writes
-- lines, buckets and counts of what runs; `records`, shared, by every claim, and exclusively by whoever changes a record, so
-- that no claim under the old record is still under way when that returns.
CREATE FUNCTION lock_number(what text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT hashtextextended('windlass/' || current_schema() || '/' || what, 0)
$$;
CREATE FUNCTION lock_limits() RETURNS void LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock(lock_number('limits')); END $$;

-- The next position at the same priority.
CREATE FUNCTION next_pos(pos bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (pos >> 49 << 49) | nextval('sequences')
$$;
