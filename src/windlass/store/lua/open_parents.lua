#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, id, limit, cursor (0 at first)
-- -> {cursor of the next call, 0 at the end; 3 per parent: id, policy, state or nothing}
--!include _common
local LOOKS = 1000
local limit, found = tonumber(ARGV[4]), {}
local function page_of(id) -- cursor of the next one; parents and letters (see _edges), in turn
  local v = call('HMGET', J .. id, 'pl', 'pm')
  if not v[1] then return unpack(call('HSCAN', ns .. 'pa:' .. id, ARGV[5], 'COUNT', LOOKS)) end
  local links = {}
  for at = 0, #v[1] / 16 - 1 do
    links[#links + 1] = string.sub(v[1], at * 16 + 1, at * 16 + 16)
    links[#links + 1] = string.sub(v[2], at * 3 + 1, at * 3 + 3)
  end
  return '0', links
end
local cursor, links = page_of(ARGV[3])
for i = 1, #links, 2 do
  if string.sub(links[i + 1], 2, 2) == '-' and #found < 3 * limit then
    found[#found + 1] = links[i]
    found[#found + 1] = string.sub(links[i + 1], 1, 1)
    found[#found + 1] = call('HGET', J .. links[i], 's')
  end
end
return {cursor, found}
