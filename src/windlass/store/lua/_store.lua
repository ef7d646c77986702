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
  local text = int(number)
  if #blob > LARGE then
    local fields = {J .. id, 's', READY, 'k', task, 'q', lane, 'i', priority, 'n', text, 'b', NOW, 'm', 1}
    keep_payload(id, blob, fields)
    call('HSET', unpack(fields))
  else
    call('HSET', J .. id, 's', '2', 'k', task, 'q', lane, 'i', priority, 'n', text, 'b', NOW)
    keep_payload(id, blob)
  end
  put('ZADD', ns .. 'ids', '0', id)
  put('ZADD', ns .. 'l:' .. lane, int(position(priority, number)), id)
  plain[lane] = (plain[lane] or 0) + 1
end
local function count_plain()
  for lane, number in pairs(plain) do
    local queue = queue_of(lane)
    count(READY .. queue, number)
    count_lane(lane, number)
    became_ready(lane, number)
  end
end

local function ended_as(id) -- the mark of an edge to this parent as it stands; nil if there is no such job
  if standing[id] then return standing[id] end
  local state = call('HGET', J .. id, 's')
  standing[id] = state and (tonumber(state) >= SUCCEEDED and state or '-') or nil
  return standing[id]
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

local function verdict_of_links(links)
  local kinds = {}
  for _, link in ipairs(links) do
    kinds[#kinds + 1] = link[2] .. link[3]
    kinds[#kinds + 1] = 1
  end
  return verdict_of(kinds)
end

local function begin(job, links) -- its first state
  local says = verdict_of_links(links)
  for _, link in ipairs(links) do add_link(job.id, link[1], link[2], link[3], says ~= 'cancel' and not is_expired(job)) end
  if says == 'cancel' or is_expired(job) then
    job.state = WAITING
    enter(job)
    cancel(job, says == 'cancel' and REASON_PARENT or REASON_EXPIRED)
  elseif says == 'wait' then
    job.state = WAITING
    enter(job)
  else
    job.state = WAITING
    enter(job)
    make_later_or_ready(job)
  end
end

local function store(id, task, lane, priority, blob, rest)
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
  local fields = {J .. id, 's', '0', 'k', task, 'q', lane, 'i', priority, 'n', int(job.number), 'w', '0', 'b', NOW, 'm', 1}
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
  add('g', job.graph)
  known_to_have[id] = job.graph and true
  keep_payload(id, blob, fields)
  call('HSET', unpack(fields))
  put('ZADD', ns .. 'ids', 0, id)
  if more.unique then call('HSET', ns .. 'u', unique_field(task, more.unique), id) end
  begin(job, links)
  return 0
end

local function store_job(at)
  local id, rest = ARGV[at], ARGV[at + 5]
  if call('EXISTS', J .. id) == 1 then return 0 end
  if rest == '' then
    store_plain(id, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
    return 0
  end
  return store(id, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], rest)
end
local function stored()
  if #payloads > 0 then call('MSET', unpack(payloads)) end
end
