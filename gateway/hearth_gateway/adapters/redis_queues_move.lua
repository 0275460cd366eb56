-- Move messages that nobody holds. ARGV 4..: id ('': not received yet), element, target list ('': none) and
-- replacement of each. Gives how many were moved.
local moved = 0

local function is_free(id)
  local hidden = hidden_until(id)
  if is_fifo and hidden then return not is_later(redis.call('ZSCORE', held(redis.call('HGET', group_of, id)), id)) end
  return hidden and (not is_later(hidden) or is_later(redis.call('ZSCORE', delayed, id)))
end

for at = 4, #ARGV, 4 do
  local id, element, target, replacement = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local is_known = id ~= '' and redis.call('HEXISTS', messages, id) == 1
  local is_here = is_known and is_free(id)
  if not is_known then is_here = redis.call('LPOS', source, element) end
  if is_here then
    if target ~= '' then redis.call('RPUSH', target, replacement) end
    if is_known then forget(id) else redis.call('LREM', source, 1, element) end
    moved = moved + 1
  end
end
return moved
