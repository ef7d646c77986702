#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, kind, then keys
-- -> a document for each (see _document)
--!include _common _document
local found = {}
for i = 4, #ARGV do found[#found + 1] = read_document(ARGV[3], ARGV[i]) end
return found
