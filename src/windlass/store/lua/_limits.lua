-- Limit records: what may start now. A record is stored as "paused concurrency count per burst", '-' for none.
local function parse_limit(text)
  local paused, concurrency, count_, per, burst = string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  return {
    paused = paused == '1', concurrency = tonumber(concurrency), rate = tonumber(count_), per = tonumber(per),
    burst = tonumber(burst),
  }
end

local records, known_running, buckets = {}, {}, {}
local function record_of(name) -- its own or, for a limit key, its group's
  local found = records[name]
  if found ~= nil then return found end
  local text = call('HGET', ns .. 'limits', name)
  if not text and string.sub(name, 1, 1) == '2' then
    text = call('HGET', ns .. 'limits', string.match(name, '^[^:]*'))
  end
  found = text and parse_limit(text) or false
  records[name] = found
  return found
end

local function running_of(name)
  if not known_running[name] then
    known_running[name] = tonumber(call('HGET', ns .. 'running', name) or 0) + (running_counts[name] or 0)
  end
  return known_running[name]
end

-- What is missing from a bucket now, in tokens times `per`: it shrinks by `rate` each microsecond.
local function debt_of(name, record)
  local bucket = buckets[name]
  if not bucket then
    local debt, at = string.match(call('HGET', ns .. 'buckets', name) or '', '^(%d+) (%d+)$')
    bucket = {tonumber(debt or 0), tonumber(at or now), changed = false}
    buckets[name] = bucket
  end
  local left = math.max(0, bucket[1] - math.max(0, now - bucket[2]) * record.rate)
  local cap = record.burst * record.per
  if left > cap or bucket[2] > now then
    -- The burst is smaller than it was, or the clock was set back: from here on the bucket fills again.
    left = math.min(left, cap)
    bucket[1], bucket[2], bucket.changed = left, now, true
  end
  return left
end

local function wait_of(name) -- 0: now; false: nobody knows; else how long
  local record = record_of(name)
  if not record then return 0 end
  if record.paused or (record.concurrency and running_of(name) >= record.concurrency) then return false end
  if not record.rate then return 0 end
  local excess = debt_of(name, record) - (record.burst - 1) * record.per
  return math.max(0, math.ceil(excess / record.rate))
end

local function spend(name) -- a token, for a job that starts
  local record = record_of(name)
  if known_running[name] then known_running[name] = known_running[name] + 1 end
  if record and record.rate then
    local debt = debt_of(name, record)
    local bucket = buckets[name]
    bucket[1], bucket[2], bucket.changed = debt + record.per, now, true
  end
end

local function write_buckets()
  for name, bucket in pairs(buckets) do
    if bucket.changed then call('HSET', ns .. 'buckets', name, int(bucket[1]) .. ' ' .. int(bucket[2])) end
  end
end
