local attempt, fingerprint, hold, lease, ttl, shard = unpack(ARGV, 3, 8)
local digest, operation, scope, key = unpack(ARGV, 9, 12)

local record = read(KEYS[1])
if record.problem then
    return record.problem
end

-- What the execution follows, if the record goes on.
local after = 'nothing'
if not record.absent then
    local age = whole(math.max(now - record.created_at, 0))
    if record.attempt == attempt and record.state == 'in flight' then
        touch()
        return answer('won', age, record.fence, whole(record.number), record.after)
    end
    if not is_expired(record) then
        if record.fingerprint ~= fingerprint then
            return answer('mismatch', age)
        end
        if record.state == 'completed' then
            touch()
            local expires_in = record.expires_at and whole(record.expires_at - now) or ''
            return answer('completed', age, expires_in,
                unpack(redis.call('HMGET', KEYS[1], 'status', 'headers', 'body')))
        end
        if record.state == 'failed' and record.attempt == attempt then
            return answer('in flight', age)
        end
        if is_held(record) then
            return answer('held', age)
        end
        if record.state == 'in flight' and record.lease_until > now then
            return answer('in flight', age)
        end
        after = record.state == 'failed' and 'failure' or 'lapse'
    end
end

local last = redis.call('GET', KEYS[2])
if last and not integer(last) then
    return answer('damaged', 'fences')
end
local drawn = math.max(micros, (tonumber(last or 0)) + 1, (record.drawn or 0) + 1)
if drawn > 9e15 then
    return answer('damaged', 'fences')
end
local fence = whole(drawn) .. shard
local number, created_at = 1, now
if after ~= 'nothing' then
    number, created_at = math.min(record.number + 1, 4294967295), record.created_at
end

-- First whatever can fail.
if hold == '1' then
    redis.call('ZADD', KEYS[3], whole(drawn), digest)
end
redis.call('SET', KEYS[2], whole(drawn))
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1],
    'version', VERSION, 'operation', operation, 'scope', scope, 'key', key,
    'fingerprint', fingerprint, 'state', 'in flight', 'hold', hold, 'attempt', attempt,
    'fence', fence, 'number', whole(number), 'after', after, 'created_at', whole(created_at),
    'lease_until', whole(now + lease))
if hold == '0' then
    local expires_at = whole(now + math.max(lease, ttl))
    redis.call('HSET', KEYS[1], 'expires_at', expires_at)
    redis.call('PEXPIREAT', KEYS[1], expires_at)
end
return answer('won', whole(math.max(now - created_at, 0)), fence, whole(number), after)
