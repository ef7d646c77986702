#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout
-- -> 7 per session, oldest first: record, opened at, lease end, renewals, revoked or nothing, jobs held, commands
--!include _common
local rows = {}
for _, session in ipairs(call('ZRANGE', ns .. 'sessions', 0, -1)) do
  local v = call('HMGET', ns .. 's:' .. session, 'r', 'o', 'u', 'n', 'v')
  for i = 1, 5 do rows[#rows + 1] = v[i] end
  rows[#rows + 1] = call('HLEN', ns .. 'h:' .. session)
  rows[#rows + 1] = call('SMEMBERS', ns .. 'c:' .. session)
end
return rows
