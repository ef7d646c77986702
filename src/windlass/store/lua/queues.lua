#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout
-- -> 8 per queue: name, limit or nothing, waiting, scheduled, ready, running, suspects, when the oldest ready job was stored or
--   nothing
--!include _common
local names, lanes, limits, counts = {}, {}, {}, {}
local function all(key) return call('HGETALL', ns .. key) end

for what, number in (function(list)
  local i = -1
  return function() i = i + 2; return list[i], list[i + 1] end
end)(all('n')) do
  counts[what] = number
  if string.find(what, '^[0-3]') then names[string.sub(what, 2)] = true end
end
local found = all('limits')
for i = 1, #found, 2 do
  if string.sub(found[i], 1, 1) == '0' then
    local name = string.sub(found[i], 2)
    names[name], limits[name] = true, found[i + 1]
  end
end
for _, lane in ipairs(call('HKEYS', ns .. 'lanes')) do
  local queue = queue_of(lane)
  lanes[queue] = lanes[queue] or {}
  table.insert(lanes[queue], lane)
end

-- The first of each priority is the oldest of those that stand in the order of their numbers; all others are in o:.
local oldest
local function look(id)
  local v = call('HMGET', J .. id, 'n', 'b')
  local number = tonumber(v[1])
  if not oldest or number < oldest[1] then oldest = {number, v[2]} end
end
local function look_through(key)
  for priority = 0, 9 do
    local first = position(priority, 0)
    local id = call('ZRANGEBYSCORE', key, int(first), '(' .. int(first + 562949953421312), 'LIMIT', 0, 1)[1]
    if id then look(id) end
  end
end
local function oldest_of(queue)
  oldest = nil
  local id = call('ZRANGE', ns .. 'o:' .. queue, 0, 0)[1]
  if id then look(id) end
  for _, lane in ipairs(lanes[queue] or {}) do
    look_through(ns .. 'l:' .. lane)
    for _, kind in ipairs(call('SMEMBERS', ns .. 'k:' .. lane)) do
      local what = string.sub(kind, 1, 1)
      if what == 'a' then look_through(ns .. 'a:' .. lane .. '\0' .. string.sub(kind, 2)) end
      if what == 'z' then look_through(ns .. 'z:' .. lane) end
    end
  end
  return oldest and oldest[2] or false
end

local rows = {}
local function add(value) rows[#rows + 1] = value end
for queue in pairs(names) do
  add(queue)
  add(limits[queue] or false)
  for _, kind in ipairs({'0', '1', '2', '3', 'x'}) do add(counts[kind .. queue] or '0') end
  add(counts['2' .. queue] and oldest_of(queue) or false)
end
return rows
