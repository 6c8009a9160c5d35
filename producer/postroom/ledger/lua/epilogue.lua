-- epilogue: what every script of the ledger ends with. It runs the verb for each call of a batch, and answers for each;
-- a call that fails is answered by its error, and the others are none the worse.
-- KEYS     those of all calls, each once
-- ARGV     1 the calls, packed: of each its keys, as places in KEYS, and its arguments
-- returns  the answers, packed: an error is {err = what Redis said}
local answers = {}
for number, call in ipairs(cmsgpack.unpack(ARGV[1])) do
  local own = {}
  for place, key in ipairs(call[1]) do own[place] = KEYS[key] end
  local is_done, answer = pcall(verb, own, call[2])
  if not is_done and type(answer) ~= 'table' then answer = {err = answer} end
  answers[number] = answer or false
end
for index, members in pairs(leaving) do redis.call('ZREM', index, unpack(members)) end
for index, members in pairs(coming) do redis.call('ZADD', index, unpack(members)) end
for _, entry in ipairs(telling) do
  redis.call('XADD', entry.stream, 'MAXLEN', '~', events_max, '*', 'id', table.concat(entry.ids, ' '), 'event', entry.event)
end
return cmsgpack.pack(answers)
