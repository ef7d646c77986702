-- Jobs as records: the fields in the order in which `windlass.store.redis.records` reads them, then how many edges to
-- parents have no mark and, if wanted whole, payload, errors and log.
local function record(id, whole)
  local v = call('HMGET', J .. id, 's', 'k', 'q', 'i', 'n', 'w', 'c', 'f', 'x', 'z', 'y', 'cr', 'u', 'd', 'e', 'uk', 'lk',
    'b', 'fi', 'pu', 're', 'r', 'pr', 'ms', 'en', 'o', 'ex')
  if not v[1] then return false end
  local open = (v[25] or 0) + (v[27] and string.match(v[27], '^%d+ (%d+)') or 0)
  v[25], v[27] = open, id
  if whole then
    v[28], v[29], v[30] = call('GET', ns .. 'p:' .. id), call('LRANGE', ns .. 'e:' .. id, 0, -1), call('GET', ns .. 'g:' .. id)
  else
    v[22] = false
  end
  return v
end
