#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), limit
-- -> {jobs moved, 1 if there is more to do, when the next scheduled job is due or -1, now}
--!include _common _write _job _edges _finish
local limit = tonumber(ARGV[6])
local function due(key, most) return call('ZRANGEBYSCORE', ns .. key, '-inf', now, 'LIMIT', 0, most) end
local moved = 0

-- Expiry first: what expired while it was scheduled does not become ready. Those that follow along edges may be among them.
for _, found in ipairs(due('expiring', limit)) do
  local job = load(string.sub(found, 8))
  if job.state < RUNNING then
    cancel(job, REASON_EXPIRED)
    moved = moved + 1
  end
end
cascade()
flush()
for _, found in ipairs(due('due', limit)) do
  make_ready(load(string.sub(found, 8)))
  moved = moved + 1
end
flush()
local first = call('ZRANGE', ns .. 'due', 0, 0, 'WITHSCORES')[2]
local more = #due('due', 1) + #due('expiring', 1) > 0
done()
return {moved, more and 1 or 0, first and tonumber(first) or -1, now}
