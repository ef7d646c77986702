#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), limit
-- -> {jobs deleted, 1 if there is more to do}
--!include _common _write _job _finish _limits
local MOST_BUCKETS = 1000
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
local more = #due(1) > 0
done()
return {#found, more and 1 or 0}
