#!lua flags=allow-oom
-- KEYS namespace   ARGV session, lease µs   -> 1
--!include _common
call('HSET', S .. ARGV[1], 'u', int(now() + ARGV[2]), 'n', 0, 'q', 0)
return 1
