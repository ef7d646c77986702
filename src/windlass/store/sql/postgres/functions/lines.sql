-- The lines of limit keys follow the jobs' states by themselves; but only where a statement names the column `aside`, as all
-- do that may move a job with a limit key, so that claims of other jobs pay nothing. Whoever inserts jobs calls `open_lines`.
--
-- They follow at the commit, when no row is waited for any more, since the lock of limits comes last (docs/decisions/0025). A
-- claim that goes by lines has them follow at once (`lock_lines`).

CREATE FUNCTION open_lines(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_limits();
    INSERT INTO lines AS l (lane, task, key, rank, turn)
    SELECT j.lane, j.task, j.limit_key, j.pos >> 49, min(j.pos & 562949953421311) FROM jobs j
    WHERE j.id = ANY (ids) AND j.state = 2 AND NOT j.suspect AND j.limit_key IS NOT NULL AND j.lined
    GROUP BY j.lane, j.task, j.limit_key, j.pos >> 49
    ON CONFLICT (lane, task, key, rank) DO UPDATE SET turn = excluded.turn
        WHERE NOT l.had_turn AND excluded.turn < l.turn;
END $$;

CREATE FUNCTION open_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM open_lines(ARRAY[NEW.id]);
    RETURN NULL;
END $$;

-- A job has left its line, which ends with its last job; as long as it has had no turn it stands by its first.
CREATE FUNCTION close_line(old jobs) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first bigint;
BEGIN
    PERFORM lock_limits();
    SELECT j.pos & 562949953421311 INTO first FROM jobs j
    WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lined
        AND j.lane = old.lane AND j.task = old.task AND j.limit_key = old.limit_key
        AND j.pos >= (old.pos >> 49 << 49) AND j.pos < (((old.pos >> 49) + 1) << 49)
    ORDER BY j.pos LIMIT 1;
    IF first IS NULL THEN
        DELETE FROM lines l
        WHERE l.lane = old.lane AND l.task = old.task AND l.key = old.limit_key AND l.rank = old.pos >> 49;
    ELSE
        UPDATE lines l SET turn = first
        WHERE l.lane = old.lane AND l.task = old.task AND l.key = old.limit_key AND l.rank = old.pos >> 49
            AND NOT l.had_turn AND l.turn <> first;
    END IF;
END $$;

CREATE FUNCTION reopen_lines(its_key text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_limits();
    UPDATE lines SET barred_at = NULL, barred_under = NULL
    WHERE key = its_key AND barred_at IS NOT NULL AND barred_until IS NULL;
END $$;

CREATE FUNCTION leave_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- In a stranger's transaction an empty line stays; the claim that finds it so closes it.
    IF current_setting('windlass.beside_lines', true) = 'on' THEN RETURN NULL; END IF;
    IF OLD.state = 3 THEN
        PERFORM reopen_lines(OLD.limit_key);
    ELSE
        PERFORM close_line(OLD);
    END IF;
    RETURN NULL;
END $$;

-- Has the lock of limits, with all lines as the jobs are, and from here on at each step.
CREATE FUNCTION lock_lines() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_limits();
    SET CONSTRAINTS ALL IMMEDIATE;
END $$;

CREATE CONSTRAINT TRIGGER lines_1_leave AFTER UPDATE OF aside ON jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
    OLD.limit_key IS NOT NULL AND OLD.state <> NEW.state AND (OLD.state = 3 OR (OLD.state = 2 AND NOT OLD.suspect))
) EXECUTE FUNCTION leave_lines();
CREATE CONSTRAINT TRIGGER lines_1_delete AFTER DELETE ON jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (OLD.limit_key IS NOT NULL AND (OLD.state = 3 OR (OLD.state = 2 AND NOT OLD.suspect))) EXECUTE FUNCTION leave_lines();
CREATE CONSTRAINT TRIGGER lines_2_open AFTER UPDATE OF aside ON jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
    NEW.limit_key IS NOT NULL AND NEW.state = 2 AND NOT NEW.suspect AND NEW.lined AND (OLD.state <> 2 OR NOT OLD.lined)
) EXECUTE FUNCTION open_line();
