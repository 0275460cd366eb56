-- The head of every transition of docs/stream-protocol.md.
-- KEYS: the stream, the hash of what is kept beside the group. ARGV: group, session, then the transition's own.
local stream, state = KEYS[1], KEYS[2]
local group, session = ARGV[1], ARGV[2]
local CONSUMER = 'hearth'

local function stale()
  if redis.call('HGET', state, 'session') == session then return nil end
  return redis.error_reply('STALE session')
end

-- What a failed command means: without the group or the stream the caller has to begin again.
local function failure(reply)
  if string.find(reply.err, 'NOGROUP', 1, true) then return {'lost'} end
  return reply
end

local function member(map, name)
  for at = 1, #map, 2 do
    if map[at] == name then return map[at + 1] end
  end
  return false
end
