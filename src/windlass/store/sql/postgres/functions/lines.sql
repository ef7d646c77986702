-- The lines of limit keys follow the jobs' states by themselves. They cost jobs without a limit key one look at it.

CREATE FUNCTION open_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_limits();
    INSERT INTO lines (lane, task, key, rank, turn)
    VALUES (NEW.lane, NEW.task, NEW.limit_key, NEW.pos >> 49, NEW.pos & 562949953421311) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE FUNCTION close_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_limits();
    DELETE FROM lines l
    WHERE l.lane = OLD.lane AND l.task = OLD.task AND l.key = OLD.limit_key AND l.rank = OLD.pos >> 49 AND NOT EXISTS (
        SELECT FROM jobs j WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lined
            AND j.lane = OLD.lane AND j.task = OLD.task AND j.limit_key = OLD.limit_key
            AND j.pos >= (OLD.pos >> 49 << 49) AND j.pos < (((OLD.pos >> 49) + 1) << 49)
    );
    RETURN NULL;
END $$;

CREATE FUNCTION reopen_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_limits();
    UPDATE lines SET barred_at = NULL, barred_under = NULL
    WHERE key = OLD.limit_key AND barred_at IS NOT NULL AND barred_until IS NULL;
    RETURN NULL;
END $$;

CREATE TRIGGER lines_1_close AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (OLD.limit_key IS NOT NULL AND OLD.state = 2 AND NOT OLD.suspect AND NEW.state <> 2) EXECUTE FUNCTION close_line();
CREATE TRIGGER lines_1_delete AFTER DELETE ON jobs FOR EACH ROW
WHEN (OLD.limit_key IS NOT NULL AND OLD.state = 2 AND NOT OLD.suspect) EXECUTE FUNCTION close_line();
CREATE TRIGGER lines_2_insert AFTER INSERT ON jobs FOR EACH ROW
WHEN (NEW.limit_key IS NOT NULL AND NEW.state = 2 AND NEW.lined) EXECUTE FUNCTION open_line();
CREATE TRIGGER lines_2_open AFTER UPDATE OF state, lined ON jobs FOR EACH ROW
WHEN (NEW.limit_key IS NOT NULL AND NEW.state = 2 AND NOT NEW.suspect AND NEW.lined
    AND (OLD.state <> 2 OR NOT OLD.lined)) EXECUTE FUNCTION open_line();
CREATE TRIGGER lines_3_reopen AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (OLD.limit_key IS NOT NULL AND OLD.state = 3 AND NEW.state <> 3) EXECUTE FUNCTION reopen_lines();
CREATE TRIGGER lines_3_ended AFTER DELETE ON jobs FOR EACH ROW
WHEN (OLD.limit_key IS NOT NULL AND OLD.state = 3) EXECUTE FUNCTION reopen_lines();
