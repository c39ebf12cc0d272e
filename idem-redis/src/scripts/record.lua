-- What all scripts begin with. KEYS[1], [2], [3] are a record, the fences of its shard, and the shard's
-- index of records that can come to be held, unless the script says otherwise. ARGV[1] is the time by
-- which the script must have begun, ARGV[2] is '1' where replicas are waited for afterwards.

local VERSION = '1'

local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)

-- Doubles are exact up to 2^53; `tostring` is not.
local function whole(number)
    return string.format('%.0f', number)
end

local function answer(verdict, ...)
    return {whole(now), verdict, ...}
end

local function integer(text)
    return text and #text <= 16 and string.match(text, '^%-?%d+$') and tonumber(text)
end

local STATES = {['in flight'] = true, completed = true, failed = true, held = true}

local function read(key)
    local fields = redis.pcall('HMGET', key, 'version', 'state', 'attempt', 'fingerprint', 'hold',
        'fence', 'number', 'after', 'created_at', 'lease_until', 'expires_at')
    if fields.err then
        return {problem = fields}
    end
    local version, state, attempt, fingerprint, hold, fence, number, after, created_at, lease_until,
        expires_at = unpack(fields)
    if not version then
        if redis.call('EXISTS', key) == 1 then
            return {problem = answer('damaged', 'version')}
        end
        return {absent = true}
    end
    if version ~= VERSION then
        return {unknown = true, problem = answer('version', version)}
    end
    local record = {
        state = state,
        attempt = attempt,
        fingerprint = fingerprint,
        hold = hold == '1',
        fence = fence,
        -- All but the last three digits, which are the shard's.
        drawn = fence and #fence <= 19 and integer(string.match(fence, '^(%d+)%d%d%d$')),
        number = integer(number),
        after = after,
        created_at = integer(created_at),
        lease_until = integer(lease_until),
        expires_at = expires_at and integer(expires_at),
    }
    if not STATES[state] then
        return {problem = answer('damaged', 'state')}
    end
    if not attempt or not fingerprint or not after or not (hold == '0' or hold == '1') then
        return {problem = answer('damaged', 'fields')}
    end
    if not (record.drawn and record.number and record.created_at and record.lease_until)
        or (expires_at and not record.expires_at) then
        return {problem = answer('damaged', 'numbers')}
    end
    return record
end

local function is_expired(record)
    return record.expires_at and record.expires_at <= now
end

local function is_held(record)
    return record.state == 'held'
        or (record.state == 'in flight' and record.hold and record.lease_until <= now)
end

-- Whether the shard's index has the record.
local function is_indexed(record)
    return record.state == 'held' or (record.state == 'in flight' and record.hold)
end

-- `WAIT` waits for what its connection wrote. What was written before, perhaps by somebody else, is
-- not confirmed yet: a write that changes nothing comes after it.
local function touch()
    if ARGV[2] == '1' then
        redis.call('SET', KEYS[2], redis.call('GET', KEYS[2]) or whole(micros))
    end
end

-- Tells those who listen that the record with this digest is not in flight any more. Who may not tell
-- has written it all the same, and it is found by who asks.
local function tell(channel, digest)
    if channel ~= '' then
        redis.pcall('SPUBLISH', channel, digest)
    end
end

-- Who gave up is not to find out later that it happened all the same.
if now >= tonumber(ARGV[1]) then
    return answer('late')
end
