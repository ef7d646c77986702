-- renew(session, lease, last answered request, held ids) -> (what, id): 1 lost, 2 cancel, 3 given back (at most 200). Refused: WL002.
CREATE FUNCTION renew(s uuid, lease bigint, answered bigint, held uuid[]) RETURNS TABLE (what int, id uuid) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  UPDATE session SET lease_end = now_us() + lease, renewals = renewals + 1 WHERE id = s AND NOT revoked;
  IF NOT FOUND THEN RAISE EXCEPTION 'unknown or revoked' USING ERRCODE = 'WL002'; END IF;
  -- NOT IN is a hashed subplan whatever the row estimates say; a join of the two took 29 ms for 1000 held
  RETURN QUERY
    WITH mine AS MATERIALIZED (SELECT j.id, j.request, j.cancel FROM job j WHERE j.session = s AND j.state = 3),
    extra AS MATERIALIZED (SELECT m.id FROM mine m WHERE m.request <= answered AND m.id NOT IN (SELECT unnest(held)) LIMIT 200),
    locked AS MATERIALIZED (SELECT j.id FROM job j JOIN extra e ON e.id = j.id WHERE (j.session = s) IS TRUE AND j.state = 3
                            AND j.request <= answered FOR UPDATE OF j SKIP LOCKED),
    back AS (UPDATE job j SET state = 2, given_back = j.given_back + 1 FROM locked l WHERE j.id = l.id RETURNING j.id)
    SELECT 1, h.id FROM unnest(held) AS h (id) WHERE h.id NOT IN (SELECT m.id FROM mine m)
    UNION ALL SELECT 2, m.id FROM mine m WHERE m.cancel
    UNION ALL SELECT 3, b.id FROM back b;
END $$;
