-- keep: says that letters need these octets; stores them when they are given and not here.
-- KEYS     1 contents, 2 the letters that need them
-- ARGV     1 ids, a blank between them, 2 octets (or nothing, to ask whether they are here)
-- returns  1 when they are here now, 0 when they have to be given
-- room     needed
if redis.call('STRLEN', KEYS[1]) == 0 then
  if ARGV[2] == '' then return 0 end
  redis.call('ZCARD', KEYS[2])
  redis.call('SET', KEYS[1], ARGV[2])
end
for id in ARGV[1]:gmatch('%S+') do redis.call('ZADD', KEYS[2], digits(now), id) end
return 1
