#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout
-- -> counted name, "paused concurrency count per burst", in turn
--!include _common
return call('HGETALL', ns .. 'limits')
