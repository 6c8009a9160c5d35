-- prelude: what every script of the ledger begins with. Time is Redis's own; letters are never decoded here.
-- What follows it is the body of a verb, run once for each call of a batch: see epilogue.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- Whole numbers as digits: Lua would print large ones as 1.2e+12.
local function digits(number) return string.format('%.0f', number) end

-- A script that fails half-way keeps what it wrote (Redis does not roll back): so all types are checked first, those
-- of the keys that the letters of a batch share once. The letter's own is known by then: every guard reads it.
local checked = {}
local function expect_once(count, key)
  if not checked[key] then redis.call(count, key) end
  checked[key] = true
end

-- Who watches all letters reads the partition's stream of events: a letter's id and the event, as its history has it.
-- What would take much room is cut to its name: the history has it whole. What happens to several letters of a batch
-- alike is one entry, written at its end.
local EVENT_MAX = 2000
local telling, entries = {}, {}
local function events_of(history) return (history:gsub('history.*$', 'events')) end
local function tell(history, event)
  if events_max == 0 then return end
  if #event > EVENT_MAX then
    event = '{"at_ms":' .. digits(now) .. ',"event":"' .. event:match('"event":"([%w_]*)"') .. '","cut":true}'
  end
  local stream, id = events_of(history), history:gsub('^.*:', '')
  expect_once('XLEN', stream)
  local entry = entries[stream .. event]
  if not entry then
    entry = {stream = stream, event = event, ids = {}}
    entries[stream .. event] = entry
    telling[#telling + 1] = entry
  end
  entry.ids[#entry.ids + 1] = id
end

local function expect_index(...)
  for _, index in ipairs({...}) do expect_once('ZCARD', index) end
end
local function expect(history, ...)
  redis.call('LLEN', history)
  if events_max > 0 then expect_once('XLEN', events_of(history)) end
  expect_index(...)
end

-- An event is a JSON object given as text; its time is put in front.
local function dated(event) return '{"at_ms":' .. digits(now) .. ',' .. event:sub(2) end
local function note(history, event)
  event = dated(event)
  redis.call('RPUSH', history, event)
  tell(history, event)
end

-- A letter is in exactly one index, that of its state; its score is the time at which something has to happen next.
-- The moves of a batch are made together, at its end. A verb asks for its move after its own first write, which a full
-- Redis before 7 refuses: the later ones it would not.
local leaving, coming = {}, {}
local function enter(index, id, score)
  local members = coming[index] or {}
  members[#members + 1] = digits(score)
  members[#members + 1] = id
  coming[index] = members
end
local function move(id, from, to, score)
  if from ~= to then
    local members = leaving[from] or {}
    members[#members + 1] = id
    leaving[from] = members
  end
  enter(to, id, score)
end
