#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, names
-- -> a schedule for each (see _schedule)
--!include _common _schedule
local found = {}
for i = 3, #ARGV do found[#found + 1] = read_schedule(ARGV[i]) end
return found
