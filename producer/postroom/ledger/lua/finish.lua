-- finish: records what an attempt came to, and gives the claim back. Repeating it with the same nonce changes nothing.
-- KEYS     1 letter, 2 history, 3 index sending, 4 index of the next state
-- ARGV     1 id, 2 nonce, 3 next state, 4 wait_ms (until due, or until forgotten), 5 recipients, 6 attempts,
--          7 uncertain, 8 pauses, 9 reason, 10 '1' to drop the content, 11 event, 12 relay (nothing: none met),
--          13 prolong_ms (by how much later it is given up)
-- returns  'finished', 'again' (it already was, by this claim), 'stale' (the claim is lost)
-- from     sending   to  sent, partial, failed, deferred, held, queued, rejected
-- guard    state and nonce
-- room     not needed
local letter, history, sending, index = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local found = redis.call('HMGET', letter, 'state', 'nonce', 'finished', 'relay')
if found[3] == ARGV[2] then return 'again' end
if found[1] ~= 'sending' or found[2] ~= ARGV[2] then return 'stale' end
expect(history, sending, index)

redis.call('HSET', letter, 'state', ARGV[3], 'finished', ARGV[2], 'recipients', ARGV[5], 'attempts', ARGV[6],
  'uncertain', ARGV[7], 'pauses', ARGV[8], 'reason', ARGV[9], 'deaths', '0',
  'relay', ARGV[12] ~= '' and ARGV[12] or found[4] or '')
move(ARGV[1], sending, index, now + tonumber(ARGV[4]))
redis.call('HDEL', letter, 'nonce', 'window', 'worker', ARGV[10] == '1' and 'letter' or 'nonce')
if ARGV[13] ~= '0' then
  -- When it might first be sent is the difference of the two: that stays.
  redis.call('HINCRBY', letter, 'give_up_ms', ARGV[13])
  redis.call('HINCRBY', letter, 'give_up_in_ms', ARGV[13])
end
note(history, ARGV[11])
return 'finished'
