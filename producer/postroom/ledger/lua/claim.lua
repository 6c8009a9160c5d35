-- claim: gives one worker a lease on a queued letter. Repeating it with the same nonce gives the same answer.
-- KEYS     1 letter, 2 history, 3 index queued, 4 index sending
-- ARGV     1 id, 2 nonce, 3 lease_ms, 4 worker
-- returns  {'claimed', now_ms, fence, letter, recipients, attempts, expires_ms, give_up_ms, uncertain, pauses, on_uncertain,
--           contents, queue, give_up_in_ms, trace, via}
--          or {the state that forbids it, or 'unknown'}
-- from     queued   to  sending
-- guard    state
-- room     not needed
local letter, history, queued, sending = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local found = redis.call('HMGET', letter, 'fence', 'letter', 'recipients', 'attempts', 'expires_ms', 'give_up_ms',
  'uncertain', 'pauses', 'on_uncertain', 'contents', 'queue', 'give_up_in_ms', 'trace', 'via', 'state', 'nonce', 'window')
local state, nonce, window = found[15], found[16], found[17]
if not state then
  redis.call('ZREM', queued, ARGV[1])
  return {'unknown'}
end
if state ~= 'queued' and not (state == 'sending' and nonce == ARGV[2]) then return {state} end
expect(history, queued, sending)

if state == 'queued' then
  found[1] = digits(tonumber(found[1] or '0') + 1)
  redis.call('HSET', letter, 'state', 'sending', 'fence', found[1], 'nonce', ARGV[2], 'worker', ARGV[4])
  if window then redis.call('HDEL', letter, 'window') end
  move(ARGV[1], queued, sending, now + tonumber(ARGV[3]))
  tell(history, dated('{"event":"claimed","worker":' .. cjson.encode(ARGV[4]) .. '}'))
end
return {'claimed', digits(now), unpack(found, 1, 14)}
