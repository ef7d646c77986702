#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write)
-- -> 5 per session to watch: id, renewals, lease left, revoked (1 or 0), lease (0: not its own, it was never opened)
--!include _common _write _session
local signs = {}
local function add(...)
  for _, value in ipairs({...}) do signs[#signs + 1] = value end
end
for _, session in ipairs(call('ZRANGE', ns .. 'sessions', 0, -1)) do
  local life = life_of(session)
  if life.until_ > now + life.lease then
    life.until_ = now + life.lease
    call('HSET', ns .. 's:' .. session, 'u', life.until_)
  end
  local left = life.until_ - now
  if life.revoked or left < math.floor(life.lease * 5 / 9) then
    add(session, life.renewals, left, life.revoked and 1 or 0, life.lease)
  end
end
for _, session in ipairs(call('SMEMBERS', ns .. 'held')) do
  if call('EXISTS', ns .. 's:' .. session) == 0 then add(session, 0, 0, 1, 0) end
end
done()
return signs
