"""What the floors on PostgreSQL store: the least that can be called a queue, and what Windlass promises."""

from __future__ import annotations

from typing import NamedTuple


class Layout(NamedTuple):
    """Tables in a schema ``floor``, and the three statements of a queue."""

    schema: str
    enqueue: str
    """Ids, tasks, payloads, now."""
    claim: str
    """How many, the session, now."""
    settle: str
    """Ids, tokens, results, the session, now."""


REFERENCE = Layout(
    schema="""
        CREATE SCHEMA floor;
        SET search_path = floor;
        CREATE SEQUENCE seq;
        CREATE TABLE job (
            id uuid PRIMARY KEY, pos bigint NOT NULL, lane smallint NOT NULL, state smallint NOT NULL,
            token int NOT NULL DEFAULT 0, attempt int NOT NULL DEFAULT 0, session uuid, at bigint NOT NULL,
            task text NOT NULL, payload bytea NOT NULL
        ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
        CREATE INDEX ready ON job (lane, pos) WHERE state = 1;
        CREATE INDEX held ON job (session) WHERE state = 2;
        CREATE TABLE done (
            id uuid PRIMARY KEY, task text, state smallint, attempt int, session uuid, token int, result bytea,
            finished bigint
        );
        CREATE TABLE session (id uuid PRIMARY KEY, request bigint NOT NULL, lease_until bigint NOT NULL);
    """,
    enqueue="""
        INSERT INTO floor.job (id, pos, lane, state, at, task, payload)
        SELECT g.id, nextval('floor.seq'), 1, 1, $4, g.task, g.payload
        FROM unnest($1::uuid[], $2::text[], $3::bytea[]) AS g (id, task, payload) ON CONFLICT (id) DO NOTHING
    """,
    claim="""
        WITH mine AS (UPDATE floor.session SET request = request + 1 WHERE id = $2 RETURNING id, $3::bigint AS now),
        picked AS MATERIALIZED (
            SELECT id FROM floor.job WHERE state = 1 AND lane = 1 ORDER BY pos LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        UPDATE floor.job j SET state = 2, token = token + 1, attempt = attempt + 1, session = $2
        FROM picked, mine WHERE j.id = picked.id RETURNING j.id, j.token, j.task, j.payload, j.attempt
    """,
    settle="""
        WITH ended AS (SELECT * FROM unnest($1::uuid[], $2::int[], $3::bytea[]) AS s (id, token, result)),
        gone AS (
            DELETE FROM floor.job j USING ended e
            WHERE j.id = e.id AND j.token = e.token AND j.session = $4 AND j.state + 0 = 2
            RETURNING j.id, j.task, j.attempt, j.token, e.result
        )
        INSERT INTO floor.done (id, task, state, attempt, session, token, result, finished)
        SELECT id, task, 5, attempt, $4, token, result, $5 FROM gone RETURNING id
    """,
)
"""Leased, fenced, idempotent by id, results kept in a history with a unique index; and nothing else."""

PROMISES = Layout(
    schema="""
        CREATE SCHEMA floor;
        SET search_path = floor;
        CREATE SEQUENCE seq;
        CREATE TABLE job (
            id uuid PRIMARY KEY, pos bigint NOT NULL, lane bigint NOT NULL, enqueued_at bigint NOT NULL, session uuid,
            request bigint, due_at bigint, expires_at bigint, started_at bigint, token int NOT NULL DEFAULT 0,
            attempt int NOT NULL DEFAULT 0, failures int NOT NULL DEFAULT 0, losses int NOT NULL DEFAULT 0,
            state smallint NOT NULL, suspect boolean NOT NULL DEFAULT false,
            cancel_requested boolean NOT NULL DEFAULT false, linked boolean NOT NULL DEFAULT false, key text,
            key_until smallint, task text NOT NULL, payload bytea NOT NULL
        ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
        CREATE INDEX ready ON job (lane, pos) WHERE state = 2 AND NOT suspect;
        CREATE INDEX held ON job (session) WHERE state = 3;
        CREATE INDEX due ON job (due_at) WHERE state = 1;
        CREATE INDEX expiry ON job (expires_at) WHERE state < 3 AND expires_at IS NOT NULL;
        CREATE UNIQUE INDEX keys ON job (task, key) WHERE key IS NOT NULL;
        CREATE TABLE done (
            id uuid PRIMARY KEY, pos bigint, lane bigint, enqueued_at bigint, started_at bigint, finished_at bigint,
            purge_at bigint, token int, attempt int, failures int, losses int, state smallint, session uuid, task text,
            payload bytea, result bytea
        );
        CREATE INDEX purge ON done (purge_at) WHERE purge_at IS NOT NULL;
        CREATE TABLE edge (
            parent uuid, child uuid, policy smallint NOT NULL, outcome smallint, PRIMARY KEY (parent, child)
        );
        CREATE TABLE queue (lane bigint PRIMARY KEY, paused boolean NOT NULL, concurrency int);
        CREATE TABLE session (
            id uuid PRIMARY KEY, request bigint NOT NULL, lease_until bigint NOT NULL,
            revoked boolean NOT NULL DEFAULT false
        );
    """,
    enqueue="""
        INSERT INTO floor.job (id, pos, lane, state, enqueued_at, task, payload)
        SELECT g.id, 4::bigint << 49 | nextval('floor.seq'), 1, 2, $4, g.task, g.payload
        FROM unnest($1::uuid[], $2::text[], $3::bytea[]) AS g (id, task, payload) ON CONFLICT (id) DO NOTHING
    """,
    claim="""
        WITH mine AS (
            UPDATE floor.session SET request = request + 1 WHERE id = $2 AND NOT revoked RETURNING id, request
        ), picked AS MATERIALIZED (
            SELECT id FROM floor.job WHERE state = 2 AND NOT suspect AND lane = 1
                AND (expires_at IS NULL OR expires_at > $3)
                AND NOT EXISTS (SELECT FROM floor.queue q WHERE q.lane = 1 AND (q.paused OR q.concurrency IS NOT NULL))
            ORDER BY pos LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        UPDATE floor.job j SET
            state = 3, token = token + 1, attempt = attempt + 1, session = $2, request = mine.request, started_at = $3,
            key = CASE WHEN key_until = 2 THEN NULL ELSE key END
        FROM picked, mine WHERE j.id = picked.id
        RETURNING j.id, j.token, j.task, j.payload, j.attempt, j.failures, j.pos, j.enqueued_at
    """,
    settle="""
        WITH ended AS (SELECT * FROM unnest($1::uuid[], $2::int[], $3::bytea[]) AS s (id, token, result)),
        gone AS (
            DELETE FROM floor.job j USING ended e
            WHERE j.id = e.id AND j.token = e.token AND j.session = $4 AND j.state + 0 = 3
            RETURNING j.*, e.result
        ), marked AS (
            UPDATE floor.edge SET outcome = 4 FROM gone g WHERE g.linked AND parent = g.id RETURNING child
        )
        INSERT INTO floor.done (
            id, pos, lane, enqueued_at, started_at, finished_at, purge_at, token, attempt, failures, losses, state,
            session, task, payload, result
        )
        SELECT id, pos, lane, enqueued_at, started_at, $5, CASE WHEN NOT linked THEN $5 + 86400000000 END, token,
            attempt, failures, losses, 4, $4, task, payload, result
        FROM gone RETURNING id
    """,
)
"""Also what everybody sees of a finished job (its arguments included), retention, priorities, expiry, unique keys, a
look at the queue's record, edges, request numbers; no limits, lines, errors or notes."""

LAYOUTS = {"reference": REFERENCE, "promises": PROMISES}
