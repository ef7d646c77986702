#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), session, command
-- -> 1 if it is known and alive, else 0
--!include _common _write _session
if not is_alive(life_of(ARGV[6])) then return 0 end
call('SADD', ns .. 'c:' .. ARGV[6], ARGV[7])
told[ARGV[6]] = true
done()
return 1
