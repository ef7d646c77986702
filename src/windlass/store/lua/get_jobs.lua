#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, ids
-- -> per job its record, whole (see _record), or nothing
--!include _common _record
local found = {}
for i = 3, #ARGV do found[i - 2] = record(ARGV[i], true) end
return found
