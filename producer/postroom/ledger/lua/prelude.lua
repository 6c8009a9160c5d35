-- prelude: what every script of the ledger begins with. Time is Redis's own; letters are never decoded here.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- Whole numbers as digits: Lua would print large ones as 1.2e+12.
local function digits(number) return string.format('%.0f', number) end

-- Who watches all letters reads the partition's stream of events: a letter's id and the event, as its history has it.
-- What would take much room is cut to its name: the history has it whole.
local EVENT_MAX = 2000
local function events_of(history) return (history:gsub('history.*$', 'events')) end
local function tell(history, event)
  if events_max == 0 then return end
  if #event > EVENT_MAX then
    event = '{"at_ms":' .. digits(now) .. ',"event":"' .. event:match('"event":"([%w_]*)"') .. '","cut":true}'
  end
  local id = history:gsub('^.*:', '')
  redis.call('XADD', events_of(history), 'MAXLEN', '~', events_max, '*', 'id', id, 'event', event)
end

-- A script that fails half-way keeps what it wrote (Redis does not roll back): so all types are checked first.
local function expect(letter, history, ...)
  redis.call('HLEN', letter)
  redis.call('LLEN', history)
  if events_max > 0 then redis.call('XLEN', events_of(history)) end
  for _, index in ipairs({...}) do redis.call('ZCARD', index) end
end

-- An event is a JSON object given as text; its time is put in front.
local function dated(event) return '{"at_ms":' .. digits(now) .. ',' .. event:sub(2) end
local function note(history, event)
  event = dated(event)
  redis.call('RPUSH', history, event)
  tell(history, event)
end

-- A letter is in exactly one index, that of its state; its score is the time at which something has to happen next.
local function move(letter, id, from, to, state, score)
  redis.call('ZREM', from, id)
  redis.call('ZADD', to, digits(score), id)
  redis.call('HSET', letter, 'state', state)
end
