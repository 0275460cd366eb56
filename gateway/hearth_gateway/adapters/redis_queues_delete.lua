-- Messages are done with. ARGV 4..: id and receive of each. Gives 1 for each that was the latest receive's, else 0.
-- A standard queue's message may have become visible again meanwhile; a FIFO queue's may not, its group has moved on.
local reply = {}
for at = 4, #ARGV, 2 do
  local id = ARGV[at]
  local is_held = redis.call('HGET', receipts, id) == ARGV[at + 1]
  if is_held and is_fifo then is_held = is_later(hidden_until(id)) end
  if is_held then forget(id) end
  reply[#reply + 1] = is_held and 1 or 0
end
return reply
