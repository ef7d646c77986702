#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, id, limit
-- -> 3 per parent: id, policy, state or nothing
--!include _common
local limit, found, cursor = tonumber(ARGV[4]), {}, '0'
repeat
  local page = call('HSCAN', ns .. 'pa:' .. ARGV[3], cursor, 'COUNT', 500)
  cursor = page[1]
  for i = 1, #page[2], 2 do
    if string.sub(page[2][i + 1], 2) == '-' and #found < 3 * limit then
      local parent = page[2][i]
      found[#found + 1] = parent
      found[#found + 1] = string.sub(page[2][i + 1], 1, 1)
      found[#found + 1] = call('HGET', J .. parent, 's')
    end
  end
until cursor == '0' or #found >= 3 * limit
return found
