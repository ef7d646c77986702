#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, lane, limit
-- -> {suspects; records (see _record) of jobs of the lane: the first without a limit key, the first of each of some keys, suspects}
--!include _common _record
local lane, limit, found = ARGV[3], tonumber(ARGV[4]), {}
local function show(key, most)
  for _, id in ipairs(call('ZRANGE', key, 0, most - 1)) do found[#found + 1] = record(id) end
end
local function show_lines(lines, most)
  for i = 1, math.min(#lines, limit) do show(ns .. 'K:' .. lane .. '\0' .. lines[i], most) end
end
show(ns .. 'l:' .. lane, limit)
for _, kind in ipairs(call('SMEMBERS', ns .. 'k:' .. lane)) do
  local what, task = string.sub(kind, 1, 1), string.sub(kind, 2)
  if what == 'z' then
    show(ns .. 'z:' .. lane, limit)
  elseif what == 'a' then
    show(ns .. 'a:' .. lane .. '\0' .. task, limit)
  else
    local lines = call('ZRANGE', ns .. 'L:' .. lane .. '\0' .. task, 0, limit - 1)
    show_lines(lines, math.ceil(limit / math.max(1, #lines)))
  end
end
local barred = call('ZRANGE', ns .. 'bv:' .. lane, 0, limit - 1)
show_lines(barred, math.ceil(limit / math.max(1, #barred)))
show(ns .. 'x:' .. lane, limit)
return {call('ZCARD', ns .. 'x:' .. lane), found}
