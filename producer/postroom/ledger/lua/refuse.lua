-- refuse: counts refusals in a row with one and the same answer about us. (A repeat of it counts one too many: it is a
--         brake, and errs on the side of braking.)
-- KEYS     1 like refusals
-- ARGV     1 answer, 2 remember_ms
-- returns  how many there were in a row
-- room     not needed
local refusals = KEYS[1]
if redis.call('HGET', refusals, 'answer') ~= ARGV[1] then
  redis.call('HSET', refusals, 'answer', ARGV[1], 'count', '0')
end
redis.call('PEXPIRE', refusals, ARGV[2])
return redis.call('HINCRBY', refusals, 'count', 1)
