-- End this owner. ARGV 4: '1' if nothing of it can arrive late. Claims of its sessions are refused from here on.
redis.call('DEL', live(owner))
restore(owner, {})
if ARGV[4] == '1' then
  redis.call('ZREM', owners, owner)
  redis.call('HDEL', sessions, owner)
end
return 1
