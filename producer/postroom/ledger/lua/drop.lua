-- drop: says that letters need these octets no longer; the last one to say so removes them.
-- KEYS     1 contents, 2 the letters that need them
-- ARGV     1 ids, a blank between them
-- returns  1 when they were removed, else 0
-- room     not needed
for id in ARGV[1]:gmatch('%S+') do redis.call('ZREM', KEYS[2], id) end
if redis.call('ZCARD', KEYS[2]) > 0 then return 0 end
return redis.call('DEL', KEYS[1])
