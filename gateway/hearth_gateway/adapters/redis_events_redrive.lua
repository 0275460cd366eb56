-- Send dead letters again. ARGV: box, then of each letter its id and the six arguments of what it is kept as. A letter
-- that is gone is passed over. Gives how many were sent.
local letters, order = DEAD .. ':' .. ARGV[1] .. ':letters', DEAD .. ':' .. ARGV[1] .. ':at'
local sent = 0
for at = 2, #ARGV, 7 do
  if redis.call('HDEL', letters, ARGV[at]) == 1 then
    keep(ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6])
    redis.call('ZREM', order, ARGV[at])
    sent = sent + 1
  end
end
if redis.call('EXISTS', letters) == 0 then redis.call('SREM', DEAD .. ':boxes', ARGV[1]) end
return sent
