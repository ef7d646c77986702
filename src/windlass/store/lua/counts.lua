#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout
-- -> state digit and queue (or x and queue: suspects), number, in turn
--!include _common
return call('HGETALL', ns .. 'n')
