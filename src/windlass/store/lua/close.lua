#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), session
-- -> jobs still to be given back by further calls, the session being revoked meanwhile; 0: it is closed
--!include _common _write _job _edges _finish _give_back _session
local session = ARGV[6]
local found = held_by(session, 0, math.huge)
for i = 1, math.min(#found, 200) do give_back(load(found[i][2])) end
cascade()
flush()
local left = math.max(0, #found - 200)
if left == 0 then
  forget(session)
elseif life_of(session) then
  call('HSET', ns .. 's:' .. session, 'v', 1)
end
done()
return left
