#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, name behind which to begin or empty, how many
-- -> {schedules by name (see _schedule), 1 if there are more}
--!include _common _schedule
local most, found = tonumber(ARGV[4]), {}
local from = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local names = call('ZRANGE', ns .. 'schedules', from, '+', 'BYLEX', 'LIMIT', 0, most + 1)
for i = 1, math.min(most, #names) do found[i] = read_schedule(names[i]) end
return {found, #names > most and 1 or 0}
