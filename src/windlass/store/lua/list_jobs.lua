#!lua flags=no-writes,allow-oom
-- KEYS namespace
-- ARGV instant, layout, cursor or empty, 1 for oldest first else 0, jobs to look at, jobs to find, then what is wanted or empty:
--   digits of states after =, queue after =, task after =, stored before, stored then or later, 1 if errors are wanted
-- -> {records (see _record; the last error behind them, if wanted), last id looked at or empty, jobs looked at, 1 if there is
--   anything behind it}
--!include _common _record
local cursor, oldest_first, looks, most = ARGV[3], ARGV[4] == '1', tonumber(ARGV[5]), tonumber(ARGV[6])
local states, queue, task = ARGV[7], ARGV[8], ARGV[9]
local before, from, errors = tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12] == '1'

local function ids_behind(id, count)
  local edge = id == '' and (oldest_first and '-' or '+') or '(' .. id
  if oldest_first then return call('ZRANGE', ns .. 'ids', edge, '+', 'BYLEX', 'LIMIT', 0, count) end
  return call('ZRANGE', ns .. 'ids', edge, '-', 'BYLEX', 'REV', 'LIMIT', 0, count)
end

local function is_meant(id)
  local v = call('HMGET', J .. id, 's', 'q', 'k', 'b')
  return (states == '' or string.find(states, v[1], 2, true)) and (queue == '' or '=' .. queue_of(v[2]) == queue)
    and (task == '' or '=' .. v[3] == task) and (not before or tonumber(v[4]) < before)
    and (not from or tonumber(v[4]) >= from)
end

local found, looked, last = {}, 0, ''
for _, id in ipairs(ids_behind(cursor, looks)) do
  if #found == most then break end
  looked, last = looked + 1, id
  if is_meant(id) then
    local row = record(id)
    if errors then row[28] = call('LINDEX', ns .. 'e:' .. id, -1) end
    found[#found + 1] = row
  end
end
return {found, last, looked, #ids_behind(last == '' and cursor or last, 1)}
