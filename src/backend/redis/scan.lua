#!lua flags=allow-oom
-- The ids of a range, in byte order, and their records, of one instant.
--
-- KEYS: meta, ids. ARGV: the two ends of the range, the most ids, the bytes of records after which there are enough.
--
-- It writes nothing and does not say so: a script that says so is also run by a replica, which may be behind.

local call = redis.call
local values = string.sub(KEYS[1], 1, -5) .. 'v:'
local limit, enough = tonumber(ARGV[3]), tonumber(ARGV[4])

local format = call('HGET', KEYS[1], 'format')
if format ~= '1' then
    return { 'place', format or '' }
end
local ids = call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, limit + 1)
local more = #ids > limit and 1 or 0
ids[limit + 1] = nil

local records, bytes = {}, 0
for from = 1, #ids, 64 do
    local keys = {}
    for at = from, math.min(from + 63, #ids) do
        keys[#keys + 1] = values .. ids[at]
    end
    for _, record in ipairs(call('MGET', unpack(keys))) do
        records[#records + 1] = record or ''
        bytes = bytes + #records[#records]
    end
    if bytes > enough and #records < #ids then
        more = 1
        for at = #ids, #records + 1, -1 do
            ids[at] = nil
        end
        break
    end
end
return { 'page', more, ids, records }
