redis.pcall('XGROUP', 'DESTROY', stream, group)
redis.call('DEL', state)
return 1
