#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), kind, then keys
-- -> how many there were
--!include _common _write _document _document_write
local kind, deleted = ARGV[6], 0
for i = 7, #ARGV do
  if read_document(kind, ARGV[i]) then deleted = deleted + forget_document(kind, ARGV[i]) end
end
done()
return deleted
