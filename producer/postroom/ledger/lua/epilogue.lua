-- epilogue: what every script of the ledger ends with. It runs the verb for each call of a batch, and answers for each;
-- a call that fails is answered by its error, and the others are none the worse.
-- KEYS     of one call behind the other, as many of each
-- ARGV     1 number of calls, 2.. the arguments of one call behind the other, as many of each
local calls = tonumber(ARGV[1])
local keys, arguments = #KEYS / calls, (#ARGV - 1) / calls
local answers = {}
local function part(list, from, number)
  local own = {}
  for place = 1, number do own[place] = list[from + place] end
  return own
end
for call = 0, calls - 1 do
  local is_done, answer = pcall(verb, part(KEYS, call * keys, keys), part(ARGV, call * arguments + 1, arguments))
  if not is_done and type(answer) ~= 'table' then answer = {err = answer} end
  answers[call + 1] = answer or false
end
for index, members in pairs(leaving) do redis.call('ZREM', index, unpack(members)) end
for index, members in pairs(coming) do redis.call('ZADD', index, unpack(members)) end
for _, entry in ipairs(telling) do
  redis.call('XADD', entry.stream, 'MAXLEN', '~', events_max, '*', 'id', table.concat(entry.ids, ' '), 'event', entry.event)
end
return answers
