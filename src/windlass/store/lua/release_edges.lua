#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write): it carries the limit
-- -> {edges moved, 1 if there is more to do}
--!include _common _write _job _finish
for _, id in ipairs(call('ZRANGE', ns .. 'behind', 0, budget - 1)) do finished[#finished + 1] = load(id) end
cascade()
done()
return {moved, call('EXISTS', ns .. 'behind')}
