-- Jobs as records: the fields in the order in which `windlass.store.redis.records` reads them, then how many edges to
-- parents have no mark and, if wanted whole, payload, errors and log.
local function record(id, whole)
  local v = call('HMGET', J .. id, 's', 'k', 'q', 'i', 'n', 'w', 'a', 't', 'f', 'x', 'z', 'y', 'c', 'h', 'u', 'd', 'e',
    'uk', 'lk', 'b', 'st', 'fi', 'pu', 're', 'r', 'pr', 'ms', 'g')
  if not v[1] then return false end
  local open = 0
  if v[28] then
    local tallies = call('HGETALL', ns .. 'ta:' .. id)
    for i = 1, #tallies, 2 do
      if string.sub(tallies[i], 2) == '-' then open = open + tallies[i + 1] end
    end
  end
  v[28], v[29] = open, id
  if whole then
    v[30], v[31], v[32] = call('GET', ns .. 'p:' .. id), call('LRANGE', ns .. 'e:' .. id, 0, -1), call('GET', ns .. 'g:' .. id)
  else
    v[25] = false
  end
  return v
end
