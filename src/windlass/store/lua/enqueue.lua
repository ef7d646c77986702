#!lua
-- KEYS namespace
-- ARGV head (see _common, _write), first sent, age at which that is stale, number of jobs, then for each: id, task, lane,
--   priority, payload (with the options before it: their length plus one, or 0, in four bytes), the rest or empty: a msgpack
--   map (delay, at, expires_in, expires_at, unique, until, replace, limit_key), then 17 bytes per parent, id and digit of the
--   policy; then for each edge: parent, dependant, policy
-- -> {0 stored, 1 followed by the holder, 2 unknown parent, for each job; a digit per edge: 0 added, 1 unknown parent, 2 not
--   waiting}; error STALE age. Nothing is written for a job before all that may refuse it has been looked at.
--!include _common _write _job _edges _finish _store
local answers, edges = {}, {}
local age = now - ARGV[6]
if age > tonumber(ARGV[7]) then return redis.error_reply('STALE ' .. int(age)) end

-- Edges to one dependant are looked for, counted and written together.
local dependants, first_edge = {}, 9 + 6 * ARGV[8]
local function parents_of_edges() -- dependant -> parents that it is to have
  local parents = {}
  for at = first_edge, #ARGV, 3 do
    local id = ARGV[at + 1]
    local its = parents[id] or {}
    its[#its + 1] = ARGV[at]
    parents[id] = its
  end
  return parents
end
local function read_dependant(id, parents)
  local v = call('HMGET', J .. id, 's', 'pl', 'pm', 'en', 'ex')
  local its = {state = v[1], few = v[2], letters = v[3], edges = edges_of(v[4], v[5]), has = {}}
  for at = 1, #(v[2] or ''), 16 do its.has[string.sub(v[2], at, at + 15)] = true end
  sync(parents_key(id))
  for from = 1, v[2] and 0 or #parents, 1000 do
    local to = math.min(from + 999, #parents)
    for i, letters in ipairs(call('HMGET', parents_key(id), unpack(parents, from, to))) do
      if letters then its.has[parents[from + i - 1]] = true end
    end
  end
  dependants[id] = its
end
local function spread(id, its) -- it is to have more parents than it keeps in its own fields
  for at = 0, #its.few / 16 - 1 do
    put('HSET', parents_key(id), string.sub(its.few, at * 16 + 1, at * 16 + 16), string.sub(its.letters, at * 3 + 1, at * 3 + 3))
  end
  call('HDEL', J .. id, 'pl', 'pm')
  its.few = nil
end
local function save_dependant(id, its)
  if its.changed then save_edges(id, its.edges) end
  its.changed = false
end

local function add_edge(parent, id, policy)
  local its = dependants[id]
  if not its.state then return 2 end
  if its.has[parent] then return 0 end
  if its.state ~= '0' then return 2 end
  local mark = ended_as(parent)
  if not mark then return 1 end
  if its.few then spread(id, its) end
  put('HSET', parents_key(id), parent, policy .. mark .. 'h')
  add_dependant(id, parent, mark, true, whole(next_number()))
  count_edge(its.edges, policy, mark, 1)
  its.has[parent], its.changed = true, true
  if mark ~= '-' then -- one more to wait for changes nothing for what waits
    save_dependant(id, its)
    judge(id)
    its.state = call('HGET', J .. id, 's')
  end
  return 0
end

look_for(9, tonumber(ARGV[8]))
for i = 1, tonumber(ARGV[8]) do answers[i] = store_job(3 + 6 * i) end
stored()
for id, parents in pairs(parents_of_edges()) do read_dependant(id, parents) end
for at = first_edge, #ARGV, 3 do edges[#edges + 1] = add_edge(ARGV[at], ARGV[at + 1], ARGV[at + 2]) end
for id, its in pairs(dependants) do save_dependant(id, its) end
cascade()
count_plain()
done()
return {answers, edges}
