-- How these jobs ended. The one question that is asked all the time: as a function its plan is made once, and not each time.
CREATE FUNCTION results(ids uuid[]) RETURNS TABLE (id uuid, state smallint, reason smallint, result bytea, error bytea)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.id, d.state, d.reason, d.result,
        (SELECT e.error FROM errors e WHERE e.job = d.id ORDER BY e.k DESC LIMIT 1)
    FROM done d WHERE d.id = ANY (ids);
END $$;
