-- release: when a letter's time has come, whatever it waited for, it goes (back) to the queue, or is held at its bound.
--          One rule for all that can wait: a due retry, a bell that was lost, a claim whose worker died.
-- KEYS     1 letter, 2 history, 3 index it waits in, 4 index queued, 5 index held
-- ARGV     1 id, 2 state it waits in, 3 bell_ms, 4 early_ms (how much before its time it may go), 5 uncertain_max, 6 deaths_max
-- returns  {queue, summary, how often a worker may have died of it} to ring the bell with, or {} when there is nothing to ring
-- from     scheduled, deferred, queued, sending   to  queued, held
-- guard    state, and a score that is over: so of two workers only one releases
-- room     not needed
local letter, history, index, queued, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, from = ARGV[1], ARGV[2]
local score = redis.call('ZSCORE', index, id)
if not score or tonumber(score) > now + tonumber(ARGV[4]) then return {} end
local found = redis.call('HMGET', letter, 'state', 'queue', 'summary', 'window', 'on_uncertain', 'uncertain', 'deaths',
  'nonce', 'late')
if found[1] ~= from then
  redis.call('ZREM', index, id)
  return {}
end
expect(history, index, queued, held)

local reason, deaths = '', tonumber(found[7] or '0')
if from == 'sending' then
  if found[4] then
    local uncertain = redis.call('HINCRBY', letter, 'uncertain', 1)
    -- The worker may live, and still read the answer: `testify` hears this claim, then.
    redis.call('HSET', letter, 'late', (found[9] and found[9] .. ' ' or '') .. found[8])
    note(history, '{"event":"uncertain","why":"the claim ran out in the window","window":"' .. found[4] .. '"}')
    if found[5] == 'hold' then reason = 'uncertain: it may have been accepted'
    elseif uncertain >= tonumber(ARGV[5]) then reason = 'uncertain ' .. uncertain .. ' times' end
    -- Its worker may have died of it: it goes alone this time, lest those in flight with it become uncertain again.
    deaths = deaths + 1
  else
    deaths = redis.call('HINCRBY', letter, 'deaths', 1)
    note(history, '{"event":"died","deaths":' .. deaths .. '}')
    if deaths >= tonumber(ARGV[6]) then reason = 'its worker died ' .. deaths .. ' times' end
  end
  redis.call('HDEL', letter, 'nonce', 'window', 'worker')
end
if reason ~= '' then
  redis.call('HSET', letter, 'state', 'held', 'reason', reason)
  note(history, '{"event":"held","why":"' .. reason .. '"}')
  move(id, index, held, now)
  return {}
end
redis.call('HSET', letter, 'state', 'queued')
move(id, index, queued, now + tonumber(ARGV[3]))
if from ~= 'queued' then tell(history, dated('{"event":"due","from":"' .. from .. '"}')) end
return {found[2], found[3], digits(deaths)}
