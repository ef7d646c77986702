-- Reading schedules.

-- name: get_schedules
-- In the order of the call.
SELECT x.name, x.version, x.definition, x.paused, x.next, x.last, x.fired, x.skipped, x.last_job, x.changed_at
FROM unnest($1::text[]) WITH ORDINALITY AS g (name, k)
    LEFT JOIN windlass.schedules x ON x.name = g.name AND x.deleted_at IS NULL
ORDER BY g.k;

-- name: list_schedules
SELECT x.name, x.version, x.definition, x.paused, x.next, x.last, x.fired, x.skipped, x.last_job, x.changed_at
FROM windlass.schedules x WHERE x.name > $1 COLLATE "C" AND x.deleted_at IS NULL ORDER BY x.name LIMIT $2;

-- name: due_schedules
-- One more than asked for, due or not: it says when the next one is due. And one without a name, for the clock.
(SELECT x.name, x.version, x.definition, x.paused, x.next, x.last, x.fired, x.skipped, x.last_job, x.changed_at
FROM windlass.schedules x
WHERE x.next IS NOT NULL AND NOT x.paused AND x.deleted_at IS NULL ORDER BY x.next LIMIT $2)
UNION ALL
SELECT NULL, NULL, NULL, NULL, windlass.instant($1), NULL, NULL, NULL, NULL, NULL;
