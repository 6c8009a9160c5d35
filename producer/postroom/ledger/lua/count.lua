-- count: adds what a process has counted to the counts of all. Repeating it with the same nonce adds nothing.
-- KEYS     1 counts, 2 that this nonce was counted
-- ARGV     1 remember_ms (how long a repeat is known), 2.. field, number, ...
-- returns  1 when it was added, 0 when it was before
-- room     not needed
redis.call('HLEN', KEYS[1])
if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then return 0 end
for place = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[place], ARGV[place + 1]) end
return 1
