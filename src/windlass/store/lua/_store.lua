-- Storing jobs. `store_job` reads one from six arguments: id, task, lane, priority, payload (with the options before it: their
-- length plus one, or 0, in four bytes), the rest or empty: a msgpack map (delay, at, expires_in, expires_at, unique, until,
-- replace, limit_key), then 17 bytes per parent, id and digit of the policy. It answers 0 stored, 1 followed by the holder of
-- the unique key, 2 unknown parent; nothing is written for a job before all that may refuse it has been looked at. `stored` and
-- `count_plain` are to be called once, in this order, the second after `cascade`.
local LARGE, payloads = 4096, {}

local function keep_payload(id, blob, fields)
  payloads[#payloads + 1] = ns .. 'p:' .. id
  payloads[#payloads + 1] = blob
  if #payloads >= 400 then
    call('MSET', unpack(payloads))
    payloads = {}
  end
  if #blob > LARGE and fields then
    local options = struct.unpack('>I4', blob)
    fields[#fields + 1] = 'l'
    fields[#fields + 1] = #blob - 4 - (options > 0 and options - 1 or 0)
  end
end

local plain = {} -- how many of each lane
local function store_plain(id, task, lane, priority, blob) -- ready at once, and nothing else to it
  local number = next_number()
  local text = whole(number)
  if #blob > LARGE then
    local fields = {J .. id, 's', READY, 'k', task, 'q', lane, 'i', priority, 'n', text, 'b', NOW, 'm', 1}
    keep_payload(id, blob, fields)
    call('HSET', unpack(fields))
  else
    call('HSET', J .. id, 's', '2', 'k', task, 'q', lane, 'i', priority, 'n', text, 'b', NOW)
    keep_payload(id, blob)
  end
  put('ZADD', ns .. 'ids', '0', id)
  put('ZADD', ns .. 'l:' .. lane, whole(position(priority, number)), id)
  plain[lane] = (plain[lane] or 0) + 1
end
local function count_plain()
  for lane, number in pairs(plain) do
    local queue = queue_of(lane)
    count(READY, queue, number)
    count_lane(lane, number)
    became_ready(lane, number)
  end
end

local function ended_as(id) -- the mark of an edge to this parent as it stands; nil if there is no such job
  local job = look_up(id)
  return job and (MARKS[job.state] or '-')
end

local function links_of(parents) -- of two edges to the same parent, the first counts; nil if one is unknown
  local links, seen = {}, {}
  for i = 1, #parents, 17 do
    local parent = string.sub(parents, i, i + 15)
    local mark = ended_as(parent)
    if not mark then return nil end
    if not seen[parent] then
      seen[parent] = true
      links[#links + 1] = {parent, string.sub(parents, i + 16, i + 16), mark}
    end
  end
  return links
end

local function holder_of(task, more)
  local id = more.unique and call('HGET', ns .. 'u', unique_field(task, more.unique))
  return id and load(id) or nil
end

local function begin(job, links, says, unfinished) -- its first state
  local place = whole(job.number)
  for _, link in ipairs(links) do add_dependant(job.id, link[1], link[3], unfinished, place) end
  enter(job) -- as a waiting one
  if says == 'cancel' then
    cancel(job, REASON_PARENT)
  elseif not unfinished then
    cancel(job, REASON_EXPIRED)
  elseif says == 'go' then
    make_later_or_ready(job)
  end
end

local function keep_parents(job, links, held, add)
  if #links > FEW then
    for _, link in ipairs(links) do put('HSET', parents_key(job.id), link[1], link[2] .. link[3] .. held) end
    return
  end
  local ids, letters = '', ''
  for _, link in ipairs(links) do
    ids, letters = ids .. link[1], letters .. link[2] .. link[3] .. held
  end
  job.parents, job.letters = ids, letters
  add('pl', ids)
  add('pm', letters)
end

-- A job that has nothing but some parents, for one of which it waits: all of `store` that this takes. nil if it is none.
local function store_step(id, task, lane, priority, blob, parents)
  local ids, letters, needs, marks = '', '', 0, {}
  for at = 1, #parents, 17 do
    local parent, policy = string.sub(parents, at, at + 15), string.sub(parents, at + 16, at + 16)
    local mark = ended_as(parent)
    if not mark then return 2 end
    if policy == '2' or place_in(ids, parent) or (policy == '0' and mark > '4') then return nil end
    if mark == '-' then needs = needs + 1 end
    ids, letters, marks[#marks + 1] = ids .. parent, letters .. policy .. mark .. 'h', mark
  end
  if needs == 0 then return nil end
  local number = whole(next_number())
  call('HSET', J .. id, 's', '0', 'k', task, 'q', lane, 'i', priority, 'n', number, 'w', '0', 'b', NOW, 'm', 'e', 'g', '1',
    'en', whole(needs), 'pl', ids, 'pm', letters)
  keep_payload(id, blob)
  put('ZADD', ns .. 'ids', '0', id)
  put('ZADD', ns .. 'waiting', number, id)
  count(WAITING, queue_of(lane), 1)
  for i, mark in ipairs(marks) do add_dependant(id, string.sub(ids, i * 16 - 15, i * 16), mark, true, number) end
  known[id] = {state = WAITING, number = number, keep = 0, graph = '1'}
  return 0
end

local EMPTY = '\128' -- a map, in msgpack
local function store(id, task, lane, priority, blob, rest)
  if string.sub(rest, 1, 1) == EMPTY and #rest <= 1 + 17 * FEW and #blob <= LARGE then
    local answer = store_step(id, task, lane, priority, blob, string.sub(rest, 2))
    if answer then return answer end
  end
  local offset, more = cmsgpack.unpack_one(rest)
  local parents = offset < 0 and '' or string.sub(rest, offset + 1)
  local links = links_of(parents)
  if not links then return 2 end
  local holder = holder_of(task, more)
  if holder then
    if not more.replace or holder.state == RUNNING then return '1' .. holder.id end
    cancel(holder, REASON_REPLACED)
    links = links_of(parents) -- it may be one of them
  end
  local job = {
    id = id, state = WAITING, task = task, lane = lane, queue = queue_of(lane), priority = tonumber(priority),
    number = next_number(), sequence = false, attempt = 0, keep = 0, unique = more.unique, limit_key = more.limit_key,
    graph = #links > 0 and '1' or false,
    due_at = more.delay and now + more.delay or more.at,
    expires_at = more.expires_in and now + more.expires_in or more.expires_at,
  }
  local edges = edges_of()
  for _, link in ipairs(links) do count_edge(edges, link[2], link[3], 1) end
  local says = verdict(edges)
  local unfinished = says ~= 'cancel' and not is_expired(job)
  local fields = {J .. id, 's', '0', 'k', task, 'q', lane, 'i', priority, 'n', whole(job.number), 'w', '0', 'b', NOW}
  local simple = #fields
  local function add(name, value)
    if value then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  add('d', job.due_at)
  add('e', job.expires_at)
  add('uk', more.unique)
  add('uu', more['until'])
  add('lk', more.limit_key)
  keep_payload(id, blob, fields)
  add('m', #fields == simple and 'e' or '1') -- edges are all that it has of what a plain job has not
  add('g', job.graph)
  if job.graph then
    job.needs = edges.needs
    add('en', whole(edges.needs))
    add('ex', rest_of(edges))
    keep_parents(job, links, unfinished and 'h' or 'c', add)
  end
  call('HSET', unpack(fields))
  put('ZADD', ns .. 'ids', '0', id)
  if more.unique then call('HSET', ns .. 'u', unique_field(task, more.unique), id) end
  known[id] = {state = WAITING, number = job.number, keep = 0, graph = job.graph}
  begin(job, links, says, unfinished)
  return 0
end

local all_new, came = false, {} -- whether none of the jobs of the call was there before it; those that came with it
local function look_for(at, jobs)
  local keys = {}
  for i = 1, jobs do keys[i] = J .. ARGV[at + (i - 1) * 6] end
  all_new = jobs > 1 and call('EXISTS', unpack(keys)) == 0
end
local function is_there(id)
  if came[id] or not all_new then return call('EXISTS', J .. id) == 1 end
  came[id] = true
  return false
end
local function store_job(at)
  local id, rest = ARGV[at], ARGV[at + 5]
  if is_there(id) then return 0 end
  if rest == '' then
    store_plain(id, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
    return 0
  end
  return store(id, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], rest)
end
local function stored()
  if #payloads > 0 then call('MSET', unpack(payloads)) end
end
