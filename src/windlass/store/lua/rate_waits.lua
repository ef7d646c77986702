#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, counted names
-- -> {now; per name the limit that governs it or nothing, and its bucket or nothing, in turn}
--!include _common
local found = {now}
for i = 3, #ARGV do
  local name = ARGV[i]
  local limit = call('HGET', ns .. 'limits', name)
  if not limit and string.sub(name, 1, 1) == '2' then limit = call('HGET', ns .. 'limits', string.match(name, '^[^:]*')) end
  found[#found + 1] = limit
  found[#found + 1] = call('HGET', ns .. 'buckets', name)
end
return found
