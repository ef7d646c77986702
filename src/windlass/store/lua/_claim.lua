-- Taking ready jobs. A claim takes MOST jobs and looks at LOOKS that it may not take, at most.
local MOST, LOOKS, PAGE, LARGE = 200, 2000, 100, 4096
local session, request, bytes_left, alone
local out, taken, full, more, retry_in, looks = {}, 0, false, false, false, 0

local function refusal(session_, request_, alone_)
  local life = call('HMGET', ns .. 's:' .. session_, 'o', 'v', 'q')
  if not life[1] then return 1 end
  if life[2] then return 2 end
  if request_ <= tonumber(life[3] or 0) then return 3 end
  -- Beside a suspect nothing else is held, so that the first job says it for all.
  local held = call('ZRANGE', ns .. 'h:' .. session_, 0, 0)[1]
  if held and (alone_ or call('HGET', J .. held, 'y')) then return 4 end
end

local function look(id, lane, score)
  looks = looks + 1
  local v = call('HMGET', J .. id, 'k', 'n', 't', 'a', 'f', 'z', 'b', 'u', 'e', 'uk', 'uu', 'ug', 'l', 'lk')
  local place = tonumber(score)
  local rank = math.floor(place / 562949953421312)
  return {
    id = id, lane = lane, task = v[1], number = tonumber(v[2]), token = (v[3] or 0) + 1, attempt = tonumber(v[4] or 0),
    failures = v[5], snoozes = v[6], born = v[7], undeliverable = v[8], expires_at = v[9] and tonumber(v[9]),
    unique = v[10], until_ = v[11], gave_up = v[12], large = v[13], limit_key = v[14], place = place,
    priority = 9 - rank, sequence = place - rank * 562949953421312, session = session,
  }
end

local function size_of(blob) -- without the options before it, whose length plus one comes first
  local options = struct.unpack('>I4', blob)
  return #blob - 4 - (options > 0 and options - 1 or 0)
end
local function fits(job) -- reads its payload, unless it is too large
  if job.large and taken > 0 and tonumber(job.large) > bytes_left then return false end
  job.blob = job.blob or call('GET', ns .. 'p:' .. job.id)
  job.size = size_of(job.blob)
  return taken == 0 or job.size <= bytes_left
end

local function extra_of(job)
  if job.attempt == 1 and not (job.failures or job.snoozes or job.undeliverable or job.limit_key) then return '' end
  local undeliverable = job.undeliverable and math.max(0, now - tonumber(job.undeliverable)) or 0
  return job.attempt .. ' ' .. (job.failures or 0) .. ' ' .. (job.snoozes or 0) .. ' ' .. int(undeliverable) .. ' '
    .. (job.limit_key and ('=' .. job.limit_key) or '')
end

local function give_up_key(job)
  if job.unique and job.until_ == '2' and not job.gave_up then
    call('HSET', J .. job.id, 'ug', 1)
    call('HDEL', ns .. 'u', unique_field(job.task, job.unique))
  end
end

local function start(job) -- it has left the zset in which it stood
  left_lane(job)
  count(READY .. job.queue, -1)
  count(RUNNING .. job.queue, 1)
  if job.expires_at then put('ZREM', ns .. 'expiring', member(job)) end
  job.attempt = job.attempt + 1
  call('HSET', J .. job.id, 's', RUNNING, 't', job.token, 'a', job.attempt, 'h', session, 'm', request, 'st', now)
  if job.token > 1 then call('HDEL', J .. job.id, 'o') end
  put('ZADD', ns .. 'h:' .. session, request * 1024 + taken, job.id)
  count_running('SADD', job)
  give_up_key(job)
  bytes_left = bytes_left - job.size
  local n = taken * 8
  out[n + 1], out[n + 2], out[n + 3], out[n + 4] = job.id, job.token, job.task, job.blob
  out[n + 5], out[n + 6], out[n + 7], out[n + 8] = job.lane, job.priority, job.born, extra_of(job)
  taken = taken + 1
end

local function note_wait(wait)
  if wait and (not retry_in or wait < retry_in) then retry_in = wait end
end

-- A lane in which all jobs are alike: no limits, no lines, nobody aside.
local function read_payloads(jobs)
  for _, job in ipairs(jobs) do
    if job.large then return end
  end
  if #jobs * LARGE > bytes_left then return end
  local keys = {}
  for i, job in ipairs(jobs) do keys[i] = ns .. 'p:' .. job.id end
  for i, blob in ipairs(call('MGET', unpack(keys))) do jobs[i].blob = blob end
end
local function park(job) -- it is expired: out of the way, until promote cancels it
  call('ZADD', ns .. 'z:' .. job.lane, job.place, job.id)
  call('SADD', ns .. 'k:' .. job.lane, 'z')
  call('HSET', ns .. 'bars', job.lane, now)
end
local function take_plainly(lane, queue, most)
  while taken < most do
    local wanted = most - taken
    local popped = call('ZPOPMIN', ns .. 'l:' .. lane, wanted)
    local jobs = {}
    for i = 1, #popped, 2 do
      local job = look(popped[i], lane, popped[i + 1])
      job.queue = queue
      if is_expired(job) then park(job) else jobs[#jobs + 1] = job end
    end
    if #jobs > 0 then read_payloads(jobs) end
    for i, job in ipairs(jobs) do
      full = full or not fits(job)
      if full then
        put('ZADD', ns .. 'l:' .. lane, job.place, job.id)
      else
        start(job)
      end
    end
    sync(ns .. 'l:' .. lane)
    if full or #popped < 2 * wanted then return end
    if looks > LOOKS then
      more = true
      return
    end
  end
end
