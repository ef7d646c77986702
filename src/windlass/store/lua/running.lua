#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout
-- -> counted name, how many run, in turn
--!include _common
local rows = {}
for _, name in ipairs(call('SMEMBERS', ns .. 'r')) do
  rows[#rows + 1] = name
  rows[#rows + 1] = call('SCARD', ns .. 'r:' .. name)
end
return rows
