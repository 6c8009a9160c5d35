-- keep: says that letters need these octets. Who needs them says so before they are stored: nobody's drop removes them.
-- KEYS     1 contents, 2 the letters that need them
-- ARGV     1 ids, a blank between them
-- returns  1 when the octets are here, 0 when they have to be stored
-- room     needed
local is_here = redis.call('STRLEN', KEYS[1]) > 0
-- To the microsecond: said again it is written again, and who waits until that is on disk has the octets there, too.
local said = string.format('%d.%06d', clock[1], clock[2])
for id in ARGV[1]:gmatch('%S+') do redis.call('ZADD', KEYS[2], said, id) end
return is_here and 1 or 0
