#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout
-- -> the instant
--!include _common
return now
