-- The ids of a range, in byte order, and their records, of one instant.
--
-- KEYS: meta, ids. ARGV: the two ends of the range, the most ids, the bytes of records after which there are enough, the last
-- byte that is wanted of each record.
--
-- It writes nothing and does not say so: a script that says so is also run by a replica, which may be behind.

local values = sub(KEYS[1], 1, -5) .. 'v:'
local limit, enough = tonumber(ARGV[3]), tonumber(ARGV[4])

local refusal = no_primary()
if refusal then
    return refusal
end

local format = call('HGET', KEYS[1], 'format')
if format ~= '1' then
    return { 'place', format or '' }
end
local ids = call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, limit + 1)

-- One by one: several at once could be any number of bytes.
local told, records, bytes = {}, {}, 0
for at = 1, math.min(#ids, limit) do
    if bytes > enough then
        break
    end
    local record = call('GETRANGE', values .. ids[at], 0, ARGV[5])
    told[at], records[at], bytes = ids[at], record, bytes + #record
end
return { 'page', #told < #ids and 1 or 0, told, records }
