#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), limit
-- -> {jobs deleted, 1 if there is more to do}
--!include _common _write _job _edges _finish _letters+_remove _limits _schedule+_document+_document_write
local MOST_BUCKETS = 1000
-- What is left of the edges of jobs that are deleted, first.
for _, name in ipairs(call('ZRANGE', ns .. 'removed', 0, budget - 1)) do
  if not unlink_parents(string.sub(name, 8), ns .. 'rm:' .. name) then break end
  call('ZREM', ns .. 'removed', name)
end

local function due(most) return call('ZRANGEBYSCORE', ns .. 'purge', '-inf', now, 'LIMIT', 0, most) end
local found = due(tonumber(ARGV[6]))
for _, name in ipairs(found) do remove(load(string.sub(name, 8))) end
flush()

-- Buckets that are full again: so they are without a record, too. A part of them at each call.
local scan = call('HSCAN', ns .. 'buckets', call('GET', ns .. 'buckets_at') or 0, 'COUNT', MOST_BUCKETS)
for i = 1, #scan[2], 2 do
  local name, record = scan[2][i], record_of(scan[2][i])
  if not record or not record.rate or debt_of(name, record) == 0 then
    call('HDEL', ns .. 'buckets', name)
  end
end
if scan[1] == '0' then call('DEL', ns .. 'buckets_at') else call('SET', ns .. 'buckets_at', scan[1]) end

-- What is left of schedules that were deleted a week ago.
local KEEP_DELETED = 604800000000
local function gone(most) return call('ZRANGEBYSCORE', ns .. 'schedules_gone', '-inf', now - KEEP_DELETED, 'LIMIT', 0, most) end
for _, name in ipairs(gone(tonumber(ARGV[6]))) do
  call('DEL', schedule_key(name))
  call('ZREM', ns .. 'schedules_gone', name)
end
-- Documents that are over.
local function over(most) return call('ZRANGEBYSCORE', ns .. 'documents_expiring', '-inf', now, 'LIMIT', 0, most) end
for _, name in ipairs(over(tonumber(ARGV[6]))) do
  local space = string.find(name, ' ', 1, true)
  forget_document(string.sub(name, 1, space - 1), string.sub(name, space + 1))
end
local more = #due(1) + #gone(1) + #over(1) + call('EXISTS', ns .. 'removed') > 0
done()
return {#found, more and 1 or 0}
