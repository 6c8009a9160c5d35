-- operate: an operator's (or the caller's) act on a letter that no worker holds.
-- KEYS     1 letter, 2 history, 3 index it is in, 4 index of the next state
-- ARGV     1 id, 2 nonce, 3 state it has to be in, 4 recipients it has to have, 5 next state, 6 wait_ms,
--          7 recipients from now on, 8 '1' to begin its account anew, 9 reason, 10 event, 11 the relay to use (nothing: any; '=': as before)
-- returns  'done' or the state that it is in instead (the same one when only its recipients differ), or 'unknown'
-- from     scheduled, queued, deferred, held, partial, failed, cancelled   to  scheduled, queued, held, cancelled, partial, failed
-- guard    state and recipients as the operator saw them; a repeat by the same nonce is 'done'
-- room     not needed
local letter, history, from, to = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local found = redis.call('HMGET', letter, 'state', 'recipients', 'acted')
if not found[1] then return 'unknown' end
if found[3] == ARGV[2] then return 'done' end
if found[1] ~= ARGV[3] or found[2] ~= ARGV[4] then return found[1] end
expect(history, from, to)

redis.call('HSET', letter, 'state', ARGV[5], 'acted', ARGV[2], 'recipients', ARGV[7], 'reason', ARGV[9])
move(ARGV[1], from, to, now + tonumber(ARGV[6]))
if ARGV[8] == '1' then
  local give_up = tonumber(redis.call('HGET', letter, 'give_up_in_ms'))
  redis.call('HSET', letter, 'give_up_ms', digits(now + give_up), 'uncertain', '0', 'deaths', '0', 'pauses', '0')
end
if ARGV[11] ~= '=' then redis.call('HSET', letter, 'via', ARGV[11]) end
note(history, ARGV[10])
return 'done'
