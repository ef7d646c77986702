-- reap(session, renewals seen, most) -> moved; -1 unknown, -2 it renewed since, -3 its lease is not over.
-- First marks it revoked, then moves one bounded step; each call is its own transaction.
CREATE FUNCTION reap(s uuid, seen bigint, most int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE v session; n bigint;
BEGIN
  SELECT * INTO v FROM session WHERE id = s FOR UPDATE;
  IF NOT FOUND THEN RETURN -1; END IF;
  IF NOT v.revoked THEN
    IF v.renewals <> seen THEN RETURN -2; END IF;
    IF v.lease_end > now_us() THEN RETURN -3; END IF;
    UPDATE session SET revoked = true WHERE id = s;
  END IF;
  WITH mine AS MATERIALIZED (SELECT id FROM job WHERE session = s AND state = 3 LIMIT most FOR UPDATE SKIP LOCKED),
  back AS (UPDATE job j SET state = 2, losses = j.losses + 1 FROM mine WHERE j.id = mine.id RETURNING 1)
  SELECT count(*) INTO n FROM back;
  IF n = 0 AND NOT EXISTS (SELECT FROM job WHERE session = s AND state = 3) THEN DELETE FROM session WHERE id = s; END IF;
  RETURN n;
END $$;
