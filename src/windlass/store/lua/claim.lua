#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), then as `claim` in _walk
-- -> as there
--!include _common _write _job _limits _claim+_walk
local answer = claim(6)
done()
return answer
