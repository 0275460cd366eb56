-- Throw dead letters away. ARGV: box, ids; no ids: all of them. Gives how many.
local letters, order = DEAD .. ':' .. ARGV[1] .. ':letters', DEAD .. ':' .. ARGV[1] .. ':at'
local gone = 0
if #ARGV == 1 then
  gone = redis.call('HLEN', letters)
  redis.call('UNLINK', letters, order)
end
for at = 2, #ARGV do
  gone = gone + redis.call('HDEL', letters, ARGV[at])
  redis.call('ZREM', order, ARGV[at])
end
if redis.call('EXISTS', letters) == 0 then redis.call('SREM', DEAD .. ':boxes', ARGV[1]) end
return gone
