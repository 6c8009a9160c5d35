-- accept: records a new letter. Repeating it with the same digest changes nothing.
-- KEYS     1 letter, 2 history, 3 index of the first state
-- ARGV     1 id, 2 first state, 3 due_ms (0: at once), 4 wait_ms (until something has to happen),
--          5 expires_in_ms (0: never; counted from 3, however long ago), 6 give_up_in_ms, 7 digest, 8 event, 9 letter,
--          10 recipients, 11 queue, 12 on_uncertain, 13 sender, 14 summary, 15 subject, 16 reason, 17 tags, 18 contents, 19 trace
-- returns  'accepted', 'known' (this very letter is here), 'other' (another letter has this id)
-- from     (nothing)   to  scheduled, queued, held, rejected
-- guard    no letter under this id
-- room     needed
local letter, history, index = KEYS[1], KEYS[2], KEYS[3]
local known = redis.call('HGET', letter, 'digest')
if known and known ~= ARGV[7] then return 'other' end
if known then
  -- Who waits until it is on disk waits for what this connection wrote: which another one may have, the first time.
  redis.call('HSET', letter, 'digest', known)
  return 'known'
end
expect(history, index)

local state, due = ARGV[2], tonumber(ARGV[3])
local start = math.max(now, due)
local score = now + tonumber(ARGV[4])
if state == 'scheduled' then score = due end
local expires = 0
if tonumber(ARGV[5]) > 0 then expires = (due > 0 and due or now) + tonumber(ARGV[5]) end
local fields = {'state', state, 'digest', ARGV[7], 'accepted_ms', digits(now), 'attempts', '0', 'expires_ms', digits(expires),
  'give_up_in_ms', ARGV[6], 'give_up_ms', digits(start + tonumber(ARGV[6])), 'letter', ARGV[9], 'recipients', ARGV[10],
  'queue', ARGV[11], 'on_uncertain', ARGV[12], 'sender', ARGV[13], 'summary', ARGV[14]}
-- What most letters are without takes no room.
for place, name in ipairs({'subject', 'reason', 'tags', 'contents', 'trace'}) do
  if ARGV[14 + place] ~= '' then
    fields[#fields + 1] = name
    fields[#fields + 1] = ARGV[14 + place]
  end
end
redis.call('HSET', letter, unpack(fields))
enter(index, ARGV[1], score)
note(history, ARGV[8])
return 'accepted'
