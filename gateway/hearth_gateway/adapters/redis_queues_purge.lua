-- Every message is gone. ARGV 4: '1' if the queue is, too. Leases of owners stay; what they settle is no message.
for _, groups in ipairs({ open, blocked }) do
  for _, group in ipairs(redis.call('ZRANGE', groups, 0, -1)) do
    redis.call('UNLINK', members(group), held(group))
  end
end
for _, who in ipairs(redis.call('ZRANGE', owners, 0, -1)) do redis.call('UNLINK', taken(who)) end
redis.call('UNLINK', source, messages, retries, receipts, delayed, open, blocked, group_of,
  stem .. ':attempts', stem .. ':attempts_until')
if ARGV[4] == '1' then
  redis.call('UNLINK', stem .. ':sequence', stem .. ':turns', stem .. ':dedups', stem .. ':dedup_until')
  return redis.call('DEL', settings)
end
return 1
