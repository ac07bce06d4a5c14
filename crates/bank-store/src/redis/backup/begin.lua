#!lua
-- Marks a bank with an import, if it is empty or marked already.
--
-- KEYS  the identity in each partition, bank:{n}:meta, from 0 on; then the index of the accounts of each partition
-- ARGV  1  the id of the bank
--       2  the mark
-- Returns 1, or 0 if there are accounts, or an error WRONGBANK with the id of the bank that is here.

local partitions = #KEYS / 2
local is_marked
for key = 1, partitions do
  local found = redis.pcall('HGET', KEYS[key], 'bank_id')
  local marked = type(found) == 'string' and string.sub(found, 1, 7) == 'import:'
  local bank_id = marked and redis.call('HGET', KEYS[key], 'import_into') or found
  if bank_id ~= ARGV[1] then
    return redis.error_reply('WRONGBANK ' .. (type(bank_id) == 'string' and bank_id or ''))
  end
  if key == 1 then is_marked = marked end
end
for key = partitions + 1, is_marked and 0 or #KEYS do
  if redis.call('EXISTS', KEYS[key]) == 1 then return 0 end
end
for key = 1, partitions do
  redis.call('HSET', KEYS[key], 'bank_id', ARGV[2], 'import_into', ARGV[1])
end
return 1
