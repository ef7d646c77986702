#!lua
-- KEYS namespace
-- ARGV head (see _common, _write), first sent, age at which that is stale, number of jobs, then for each: id, task, lane,
--   priority, payload (with the options before it: their length plus one, or 0, in four bytes), the rest or empty: a msgpack
--   map (delay, at, expires_in, expires_at, unique, until, replace, limit_key), then 17 bytes per parent, id and digit of the
--   policy; then for each edge: parent, dependant, policy
-- -> {0 stored, 1 followed by the holder, 2 unknown parent, for each job; a digit per edge: 0 added, 1 unknown parent, 2 not
--   waiting}; error STALE age. Nothing is written for a job before all that may refuse it has been looked at.
--!include _common _write _job _finish _store
local answers, edges = {}, {}
local age = now - ARGV[6]
if age > tonumber(ARGV[7]) then return redis.error_reply('STALE ' .. int(age)) end

local function add_edge(parent, id, policy)
  local state = call('HGET', J .. id, 's')
  if not state then return 2 end
  if call('HEXISTS', ns .. 'pa:' .. id, parent) == 1 then return 0 end
  if state ~= '0' then return 2 end
  local mark = ended_as(parent)
  if not mark then return 1 end
  add_link(id, parent, policy, mark, true)
  judge(id)
  return 0
end

local at = 9
for i = 1, tonumber(ARGV[8]) do
  answers[i] = store_job(at)
  at = at + 6
end
stored()
while ARGV[at] do
  edges[#edges + 1] = add_edge(ARGV[at], ARGV[at + 1], ARGV[at + 2])
  at = at + 3
end
cascade()
count_plain()
done()
return {answers, edges}
