#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, how many
-- -> {schedules that are due, the earliest first (see _schedule), when the next of the others is due or -1, now}
--!include _common _schedule
local most, found = tonumber(ARGV[3]), {}
-- One more than asked for, due or not: it says when the next one is due.
local names = call('ZRANGE', ns .. 'schedules_due', 0, most, 'WITHSCORES')
local at = 1
while names[at] and #found < most and tonumber(names[at + 1]) <= now do
  found[#found + 1] = read_schedule(names[at])
  at = at + 2
end
return {found, names[at] and tonumber(names[at + 1]) or -1, now}
