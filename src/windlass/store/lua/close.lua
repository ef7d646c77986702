#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), session
-- -> jobs still to be given back by further calls, the session being revoked meanwhile; 0: it is closed
--!include _common _write _job _finish _session
local session = ARGV[6]
local held = ns .. 'h:' .. session
for _, id in ipairs(call('ZRANGE', held, 0, 199)) do give_back(load(id)) end
cascade()
flush()
local left = call('ZCARD', held)
if left == 0 then
  forget(session)
elseif life_of(session) then
  call('HSET', ns .. 's:' .. session, 'v', 1)
end
done()
return left
