#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, ids
-- -> per job {state, reason, result or nothing, last error or nothing}, or nothing if it is unknown or unfinished
--!include _common
local found = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local v = call('HMGET', J .. id, 's', 're', 'r')
  found[i - 2] = v[1] and tonumber(v[1]) >= SUCCEEDED and {v[1], v[2], v[3], call('LINDEX', ns .. 'e:' .. id, -1)} or false
end
return found
