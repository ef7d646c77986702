#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout
-- -> counted name, how many run, in turn
--!include _common
return call('HGETALL', ns .. 'running')
