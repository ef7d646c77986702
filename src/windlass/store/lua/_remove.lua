-- Removing finished jobs, and with them their edges to parents.
local function unlink(parent, id)
  local list = call('HGET', J .. parent, 'dl')
  if not list then return call('ZREM', dependants_key(parent), id) end
  local others = ''
  for at = 1, #list, 16 do
    local other = string.sub(list, at, at + 15)
    if other ~= id then others = others .. other end
  end
  call('HSET', J .. parent, 'dl', others)
end
-- Take a job that was deleted out of the lists of its parents, which `key` names, until the budget is spent; answers whether
-- that is done. (A new job may have its id by now, and edges of its own.)
local function unlink_parents(id, key)
  while call('EXISTS', key) == 1 do
    if moved >= budget then return false end
    local parents = call('HRANDFIELD', key, math.min(budget - moved, 100))
    for _, parent in ipairs(parents) do
      if not letters_of(id, parent) then unlink(parent, id) end
    end
    call('HDEL', key, unpack(parents))
    moved = moved + #parents
  end
  return true
end
local function remove_edges(job) -- those to its dependants stay with those
  local id, links = job.id, parents_key(job.id)
  if job.parents then
    for at = 1, #job.parents, 16 do unlink(string.sub(job.parents, at, at + 15), id) end
  elseif call('EXISTS', links) == 1 then
    local rest = ns .. 'rm:' .. member(job)
    call('RENAME', links, rest)
    if not unlink_parents(id, rest) then call('ZADD', ns .. 'removed', job.number, member(job)) end
  end
  call('UNLINK', dependants_key(id))
end

local function remove(job) -- a finished job
  local id = job.id
  if job.graph then remove_edges(job) end
  call('DEL', J .. id, ns .. 'p:' .. id, ns .. 'e:' .. id, ns .. 'g:' .. id)
  put('ZREM', ns .. 'ids', id)
  put('ZREM', ns .. 'purge', member(job))
  count(job.state, job.queue, -1)
end
