#!lua
-- Marks a bank with an import, if it is empty or marked already.
--
-- KEYS  1    bank:meta
--       2..  the indexes of accounts
-- ARGV  1    the id of the bank
--       2    the mark
-- Returns 1, or 0 if there are accounts, or an error WRONGBANK with the id of the bank that is here.

local found = redis.pcall('HGET', KEYS[1], 'bank_id')
local is_marked = type(found) == 'string' and string.sub(found, 1, 7) == 'import:'
local bank_id = is_marked and redis.call('HGET', KEYS[1], 'import_into') or found
if bank_id ~= ARGV[1] then
  return redis.error_reply('WRONGBANK ' .. (type(bank_id) == 'string' and bank_id or ''))
end
for key = 2, is_marked and 1 or #KEYS do
  if redis.call('EXISTS', KEYS[key]) == 1 then return 0 end
end
redis.call('HSET', KEYS[1], 'bank_id', ARGV[2], 'import_into', ARGV[1])
return 1
