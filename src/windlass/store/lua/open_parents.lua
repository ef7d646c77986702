#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, id, limit, cursor (0 at first)
-- -> {cursor of the next call, 0 at the end; 3 per parent: id, policy, state or nothing}
--!include _common
local LOOKS = 1000
local limit, found = tonumber(ARGV[4]), {}
local page = call('HSCAN', ns .. 'pa:' .. ARGV[3], ARGV[5], 'COUNT', LOOKS)
for i = 1, #page[2], 2 do
  if string.sub(page[2][i + 1], 2) == '-' and #found < 3 * limit then
    local parent = page[2][i]
    found[#found + 1] = parent
    found[#found + 1] = string.sub(page[2][i + 1], 1, 1)
    found[#found + 1] = call('HGET', J .. parent, 's')
  end
end
return {page[1], found}
