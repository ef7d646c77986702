#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), ids
-- -> how many were deleted
--!include _common _write _job _edges _finish _letters+_remove
local deleted = 0
for i = 6, #ARGV do
  local id = ARGV[i]
  local job = load(id)
  local finished_at = job and (call('HGET', J .. id, 'fi') or string.match(call('HGET', J .. id, 'o') or '', ' (%d+) '))
  if finished_at and finished_at + KEEP_AT_LEAST <= now and (job.dependants or 0) == 0
    and not call('ZSCORE', ns .. 'behind', id) then
    remove(job)
    deleted = deleted + 1
  end
end
done()
return deleted
