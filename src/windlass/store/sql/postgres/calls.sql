-- The verbs: functions of the schema, called with their arguments in order. See functions/*.sql for what they do.

-- name: enqueue_plain
SELECT windlass.enqueue_plain($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18);

-- name: enqueue_each
SELECT answer, holder FROM windlass.enqueue_each(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25
);

-- name: enqueue_linked
SELECT windlass.enqueue_linked(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22
);

-- name: enqueue_edges
SELECT * FROM windlass.enqueue_edges($1, $2, $3, $4, $5, $6, $7);

-- name: claim
SELECT * FROM windlass.claim($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: settle
SELECT * FROM windlass.settle(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24
);

-- name: unclaim
SELECT windlass.unclaim($1, $2, $3, $4, $5);

-- name: annotate
SELECT windlass.annotate($1, $2, $3, $4, $5, $6);

-- name: open_session
SELECT windlass.open_session($1, $2, $3, $4, $5, $6);

-- name: close_session
SELECT windlass.close_session($1, $2, $3, $4, $5);

-- name: renew
SELECT * FROM windlass.renew($1, $2, $3, $4, $5, $6, $7, $8);

-- name: observe
SELECT * FROM windlass.observe($1);

-- name: reap
SELECT done, more FROM windlass.reap($1, $2, $3, $4, $5, $6, $7, $8);

-- name: command
SELECT windlass.command($1, $2, $3);

-- name: promote
SELECT done, more, next_at, now FROM windlass.promote($1, $2, $3, $4);

-- name: release_edges
SELECT done, more FROM windlass.release_edges($1, $2, $3);

-- name: purge
SELECT done, more FROM windlass.purge($1, $2);

-- name: cancel
SELECT * FROM windlass.cancel($1, $2, $3, $4);

-- name: replay
SELECT * FROM windlass.replay($1);

-- name: skip
SELECT windlass.skip($1, $2, $3, $4, $5);

-- name: reschedule
SELECT windlass.reschedule($1, $2, $3);

-- name: delete_jobs
SELECT windlass.delete_jobs($1, $2, $3);

-- name: put_limit
SELECT windlass.put_limit($1, $2, $3, $4, $5, $6, $7, $8);

-- name: enqueue_in
SELECT windlass.enqueue_in($1, $2);

-- name: enqueue
-- For other languages; no part of Windlass calls it.
SELECT windlass.enqueue($1, $2);

-- name: put_schedules
SELECT answer, last FROM windlass.put_schedules($1, $2, $3, $4, $5, $6) ORDER BY place;

-- name: delete_schedules
SELECT windlass.delete_schedules($1, $2);

-- name: put_documents
SELECT version FROM windlass.put_documents($1, $2, $3, $4, $5, $6) ORDER BY place;

-- name: delete_documents
SELECT windlass.delete_documents($1, $2, $3);

-- name: fire
SELECT firing, job, answer, holder FROM windlass.fire(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
    $26, $27, $28, $29, $30
);
