-- KEYS are records: for each of them, whether it is in flight.
local reply = answer('found')
for _, key in ipairs(KEYS) do
    local record = read(key)
    local is_in_flight = record.state == 'in flight' and record.lease_until > now
    reply[#reply + 1] = is_in_flight and not is_expired(record) and '1' or '0'
end
return reply
