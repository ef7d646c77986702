-- Workers of the layout before go on.

-- Who asked in a lane and found nothing, and hears hints: see `tell_lane`. A crash of the server empties it, and whoever looks
-- again in vain enters again. No two rows exclude each other, so that nobody waits for another's transaction to enter.
CREATE UNLOGGED TABLE idle (
    lane bigint NOT NULL,
    place double precision NOT NULL,        -- drawn by lot: who stands first is told first
    session uuid NOT NULL,
    listener bigint NOT NULL                -- the advisory lock that its connection for hints holds
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX idle_next ON idle (lane, place);
CREATE INDEX idle_session ON idle (session);
