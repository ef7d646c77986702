#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write): it carries the limit
-- -> {edges moved, 1 if there is more to do}
--!include _common _write _job _edges _finish
for _, id in ipairs(call('ZRANGE', ns .. 'behind', 0, budget - 1)) do
  local job = load(id)
  if job then
    local v = call('HMGET', J .. id, 'mt', 'me', 'ct')
    job.was_behind, job.marked_to, job.marks_end, job.closed_to = true, v[1], v[2], v[3]
    follow(job)
  end
end
cascade()
done()
return {moved, call('EXISTS', ns .. 'behind')}
