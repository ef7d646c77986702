#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write): it carries the limit
-- -> {edges moved, 1 if there is more to do}
--!include _common _write _job _finish
for _, id in ipairs(call('ZRANGE', ns .. 'behind', 0, budget - 1)) do
  local job = load(id)
  if job then
    job.was_behind = true
    follow(job)
  end
end
cascade()
done()
return {moved, call('EXISTS', ns .. 'behind')}
