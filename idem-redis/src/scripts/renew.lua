local attempt, lease = ARGV[3], ARGV[4]

local record = read(KEYS[1])
if record.absent or record.unknown then
    return answer('stale')
end
if record.problem then
    return record.problem
end
if record.attempt ~= attempt or record.state ~= 'in flight' then
    return answer('stale')
end
local lease_until = now + lease
redis.call('HSET', KEYS[1], 'lease_until', whole(lease_until))
if record.expires_at and record.expires_at < lease_until then
    redis.call('HSET', KEYS[1], 'expires_at', whole(lease_until))
    redis.call('PEXPIREAT', KEYS[1], whole(lease_until))
end
return answer('accepted')
