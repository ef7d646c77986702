-- Edges: what the jobs that they join know of them. Of each its parent has the dependant among its dependants, and the dependant
-- three letters: the policy; the mark, which is the digit of the state in which the parent ended, or '-'; and h while the parent
-- is held, c once it was let go. They are in two of its own fields while they are few, ids and letters: what follows along
-- an edge reads and writes them with the job. Else they have a hash.
local KEEP_AT_LEAST = 300000000
local function end_of_keep(keep) return whole(now + math.max(keep, KEEP_AT_LEAST)) end
local function parents_key(id) return ns .. 'pa:' .. id end
local function dependants_key(id) return ns .. 'dp:' .. id end
local MARKS = {[SUCCEEDED] = '4', [DEAD] = '5', [CANCELLED] = '6'}
local FEW = 4 -- of 16 bytes each: a longer field would change how the server keeps the whole job

local function place_in(ids, parent) -- nil if it is not there
  for at = 0, #ids / 16 - 1 do
    if string.sub(ids, at * 16 + 1, at * 16 + 16) == parent then return at end
  end
end
local function letters_at(all, at) return string.match(all, '^(.)(.)(.)', at * 3 + 1) end
local function with_letters(all, at, new) return string.sub(all, 1, at * 3) .. new .. string.sub(all, at * 3 + 4) end

-- What a dependant counts of its edges: those that it `needs` and that have no mark; and of what most have none of: edges that
-- want a failure, those of them without a mark, those that saw one; and needed ones that ended badly.
local function edges_of(needs, rest)
  local wants, open, saw, broken = string.match(rest or '0 0 0 0', '^(%d+) (%d+) (%d+) (%d+)$')
  return {needs = (needs or 0) + 0, wants = wants + 0, open = open + 0, saw = saw + 0, broken = broken + 0}
end
local function rest_of(edges)
  if edges.wants == 0 and edges.broken == 0 then return nil end
  return edges.wants .. ' ' .. edges.open .. ' ' .. edges.saw .. ' ' .. edges.broken
end
local function count_edge(edges, policy, mark, by)
  if policy == '2' then
    edges.wants = edges.wants + by
    if mark == '-' then edges.open = edges.open + by elseif mark ~= '4' then edges.saw = edges.saw + by end
  elseif mark == '-' then
    edges.needs = edges.needs + by
  elseif policy == '0' and mark ~= '4' then
    edges.broken = edges.broken + by
  end
end
local function save_edges(id, edges, letters)
  local fields, rest = {J .. id, 'en', whole(edges.needs)}, rest_of(edges)
  local function add(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if rest then add('ex', rest) end
  if letters and letters ~= '' then add('pm', letters) end
  call('HSET', unpack(fields))
  if edges.had_rest and not rest then call('HDEL', J .. id, 'ex') end
end

local function verdict(edges) -- see windlass.core.graph.verdict
  if edges.broken > 0 then return 'cancel' end
  if edges.wants > 0 and edges.saw == 0 then return edges.open == 0 and 'cancel' or 'wait' end
  return edges.needs > 0 and 'wait' or 'go'
end

-- What was read of jobs with edges. Whoever ends a job forgets it here, or says what it has become.
local known = {}
local function look_up(id)
  local job = known[id]
  if job then return job end
  local v = call('HMGET', J .. id, 's', 'n', 'ke', 'dn', 'g', 'dl')
  if not v[1] then return nil end
  job = {state = v[1] + 0, number = v[2], keep = (v[3] or 0) + 0, dependants = v[4] and v[4] + 0, graph = v[5], list = v[6]}
  known[id] = job
  return job
end

local turn_to_come = {} -- ids of jobs that ended, and whose own edges have not been seen to
local behind, all_behind -- those that were left behind, if they are few
local function is_behind(id)
  if turn_to_come[id] then return true end
  if not behind then
    local ids = call('ZRANGE', ns .. 'behind', 0, 49)
    behind, all_behind = {}, #ids < 50
    for _, one in ipairs(ids) do behind[one] = true end
  end
  return behind[id] or not all_behind and call('ZSCORE', ns .. 'behind', id)
end

-- A parent counts the unfinished dependants that it is kept for. When there are none (any more), its retention begins.
local holds = {}
local function hold(parent, by) holds[parent] = (holds[parent] or 0) + by end
local function write_hold(id, job, by)
  local dependants = (job.dependants or 0) + by
  if dependants == 0 and job.state >= SUCCEEDED and not is_behind(id) then
    local at = end_of_keep(job.keep)
    call('HSET', J .. id, 'dn', '0', 'pu', at)
    put('ZADD', ns .. 'purge', at, struct.pack('>I7', job.number) .. id)
  elseif job.list_changed then
    call('HSET', J .. id, 'dn', whole(dependants), 'dl', job.list)
    job.list_changed = false
  elseif by ~= 0 or not job.dependants then
    call('HSET', J .. id, 'dn', whole(dependants))
  end
  job.dependants = dependants
end
local function write_hold_of(id)
  local by, job = holds[id], look_up(id)
  holds[id] = nil
  if by and job then write_hold(id, job, by) end
end
local function write_holds()
  for id in pairs(holds) do write_hold_of(id) end
end
local function hold_again(parent, number) -- one that may have finished
  hold(parent, 1)
  call('HDEL', J .. parent, 'pu')
  put('ZREM', ns .. 'purge', struct.pack('>I7', number) .. parent)
end

local MARKED = '0' -- the place of an edge that no end of its parent has to mark
-- The dependants of a job, while they are few and none is unlike the others, are a list in a field of its own. Else they have
-- places in a set: those of the list have the first ones.
local function spread(id, job)
  for at = 1, #job.list, 16 do put('ZADD', dependants_key(id), whole((at + 15) / 16), string.sub(job.list, at, at + 15)) end
  call('HDEL', J .. id, 'dl')
  job.list, job.list_changed = false, false
end
local function make_up(parent, job) -- from now on it has edges: for what a plain job does without
  local v = call('HMGET', J .. parent, 'm', 'c', 'o')
  call('HSET', J .. parent, 'm', v[1] or 'e', 'g', '1')
  job.graph = '1'
  if v[2] then is_not_plain_any_more(parent) end
  local how, finished_at, purge_at = string.match(v[3] or '', '^(%d) (%d+) (%d+)$')
  if not how then return end
  job.keep = purge_at - finished_at
  call('HSET', J .. parent, 'o', how, 'fi', finished_at, 'pu', purge_at, 'ke', whole(job.keep))
end
local function add_dependant(id, parent, mark, unfinished, place)
  local job = look_up(parent)
  if not job.graph then make_up(parent, job) end
  local list = job.list or (not job.dependants and not job.spread and '')
  if list and mark == '-' and #list < 16 * FEW then
    -- It may be there: of a job that was deleted, whose id came again before its parents heard of it.
    job.list, job.list_changed = place_in(list, id) and list or list .. id, true
  else
    if job.list then spread(parent, job) end
    job.spread = true
    put('ZADD', dependants_key(parent), mark == '-' and place or MARKED, id)
  end
  if unfinished and mark ~= '-' then hold_again(parent, job.number) else hold(parent, unfinished and 1 or 0) end
end
