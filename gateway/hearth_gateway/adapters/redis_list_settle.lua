-- Apply fates. ARGV 4..: the number of messages done, to deliver again and dead; then the ids done; id, attempts and
-- due time of each to deliver again; id, dead-letter list ('': none) and record of each that is dead.
-- Done holds wherever the message is now: it was handled. The other fates are the present holder's business only.
local done, again, dead = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local at = 7

for _ = 1, done do
  local id = ARGV[at]
  forget(id)
  redis.call('SREM', leases(owner), id)
  at = at + 1
end

local function is_mine(id)
  return redis.call('SISMEMBER', leases(owner), id) == 1 and redis.call('HEXISTS', messages, id) == 1
end

for _ = 1, again do
  local id, attempts, due = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if is_mine(id) then
    local before, first, element = entry(id)
    if before ~= attempts then keep(id, attempts, first, element) end
    hide(id, due)
  end
  redis.call('SREM', leases(owner), id)
  at = at + 3
end

for _ = 1, dead do
  local id, list, record = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if is_mine(id) then
    if list ~= '' then redis.call('RPUSH', list, record) end
    forget(id)
  end
  redis.call('SREM', leases(owner), id)
  at = at + 3
end
return 1
