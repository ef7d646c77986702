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

CREATE FUNCTION tell_ready(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell('ready', b.queue) FROM (SELECT DISTINCT queue FROM bodies WHERE id = ANY (ids)) b;
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
