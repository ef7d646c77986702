#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, queues
-- -> the lanes of these queues in which jobs are ready
--!include _common
local wanted, found = {}, {}
for i = 3, #ARGV do wanted[ARGV[i]] = true end
for _, lane in ipairs(call('HKEYS', ns .. 'lanes')) do
  if wanted[queue_of(lane)] then found[#found + 1] = lane end
end
return found
