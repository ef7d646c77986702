#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), edges after which no other job is begun, ids
-- -> per job, as far as it came: 0 replayed, 1 not dead, 2 key held, 3 unknown
--!include _common _write _job _edges _finish _letters
local armed = 0

local function takes_key(job) -- again, if it has not given it up for good
  if not job.unique or job.gave_up then return true end
  local field = unique_field(job.task, job.unique)
  return call('HSETNX', ns .. 'u', field, job.id) == 1 or call('HGET', ns .. 'u', field) == job.id
end

-- Let its next end be marked on its edges to dependants, those that still wait for others included.
local function unmark(id, parent)
  local policy, mark, held = letters_of(id, parent)
  if not policy then return end -- it was deleted, and its parent has not heard of it yet
  local v = call('HMGET', J .. id, 'pl', 'pm', 'en', 'ex')
  local edges = edges_of(v[3], v[4])
  edges.had_rest = v[4]
  change_mark(edges, policy, mark, '-')
  local letters = policy .. '-' .. held
  if v[1] then return save_edges(id, edges, with_letters(v[2], place_in(v[1], parent), letters)) end
  call('HSET', parents_key(id), parent, letters)
  save_edges(id, edges)
end
local function rearm_dependants(job, was_behind)
  local v = call('HMGET', J .. job.id, 'mt', 'me', 'dl')
  local key, marks_end = dependants_key(job.id), v[2] or MARKED
  if v[3] then spread(job.id, {list = v[3]}) end
  sync(key)
  local marked_to = was_behind and (v[1] or MARKED) or marks_end
  for _, id in ipairs(call('ZRANGEBYSCORE', key, '(' .. marked_to, marks_end)) do put('ZADD', key, whole(next_number()), id) end
  for _, id in ipairs(call('ZRANGEBYSCORE', key, '-inf', marked_to)) do
    armed = armed + 1
    if call('HGET', J .. id, 's') == '0' then
      unmark(id, job.id)
      put('ZADD', key, whole(next_number()), id)
    else
      put('ZADD', key, MARKED, id)
    end
  end
  sync(key)
end

-- Mark its own edges as their parents stand now. One that its parent's end does not satisfy waits for another end: a replay.
local function rearm_parent(job, parent, policy, mark, held, was_behind) -- answers mark, and whether it is held
  local v = call('HMGET', J .. parent, 's', 'n', 'dl')
  armed = armed + 1
  if not v[1] then return mark, 'c' end -- the edge keeps the mark that it had
  local satisfies = v[1] == '4' or policy ~= '0'
  mark = tonumber(v[1]) >= SUCCEEDED and satisfies and v[1] or '-'
  if v[3] then spread(parent, {list = v[3]}) end
  put('ZADD', dependants_key(parent), mark == '-' and whole(next_number()) or MARKED, job.id)
  if not was_behind or held == 'c' then hold_again(parent, v[2]) end
  return mark, 'h'
end
local function links_of(job) -- parent and letters, in turn
  if not job.parents then return call('HGETALL', parents_key(job.id)) end
  local links = {}
  for at = 0, #job.parents / 16 - 1 do
    links[#links + 1] = string.sub(job.parents, at * 16 + 1, at * 16 + 16)
    links[#links + 1] = string.sub(job.letters, at * 3 + 1, at * 3 + 3)
  end
  return links
end
local function rearm_parents(job, was_behind) -- answers what it counts of them
  local key, edges, all, links = parents_key(job.id), edges_of(), {}, links_of(job)
  edges.had_rest = job.rest
  for i = 1, #links, 2 do
    local policy, mark, held = letters_at(links[i + 1], 0)
    mark, held = rearm_parent(job, links[i], policy, mark, held, was_behind)
    count_edge(edges, policy, mark, 1)
    if job.parents then all[#all + 1] = policy .. mark .. held else put('HSET', key, links[i], policy .. mark .. held) end
  end
  sync(key)
  save_edges(job.id, edges, table.concat(all))
  return edges
end

local function replay_one(job)
  if not job then return 3 end
  if job.state ~= DEAD and job.state ~= CANCELLED then return 1 end
  if not takes_key(job) then return 2 end
  local waits = false
  if job.graph then
    local was_behind = call('ZREM', ns .. 'behind', job.id) == 1
    rearm_dependants(job, was_behind)
    if job.needs then
      local edges = rearm_parents(job, was_behind)
      waits = edges.needs + edges.open > 0 and verdict(edges) ~= 'go'
    end
    write_holds()
    known = {}
  end
  unset(job, 'f', 'x', 'z', 'y', 'cr', 're', 'd', 'e', 'u', 'fi', 'pu', 'r', 'pr', 'ms', 'mt', 'me', 'ct')
  call('DEL', ns .. 'g:' .. job.id)
  leave(job)
  job.expires_at, job.suspect, job.due_at = false, false, false
  if waits then
    job.state = WAITING
    enter(job)
    set(job, 's', WAITING)
    return 0
  end
  job.state = READY
  job.sequence = next_number()
  enter(job)
  set(job, 's', READY, 'w', job.sequence)
  became_ready(job.lane, 1)
  return 0
end

local answers = {}
for i = 7, #ARGV do
  if i > 7 and armed > tonumber(ARGV[6]) then break end
  answers[i - 6] = replay_one(load(ARGV[i]))
end
done()
return answers
