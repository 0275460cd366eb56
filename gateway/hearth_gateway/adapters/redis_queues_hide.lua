-- Change visibilities. ARGV 4..: id, receive and the new time of visibility of each.
-- Gives 1 for each that was still hidden for that receive, else 0.
local reply = {}
for at = 4, #ARGV, 3 do
  local id = ARGV[at]
  local is_held = redis.call('HGET', receipts, id) == ARGV[at + 1] and is_later(hidden_until(id))
  if is_held then hide(id, ARGV[at + 2]) end
  reply[#reply + 1] = is_held and 1 or 0
end
return reply
