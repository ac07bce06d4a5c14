#!lua
-- Adds an account to the index of its owner, before the account is opened in another partition.
--
-- It can be run again. Whoever reads the index leaves out accounts that do not exist, or have another owner.
--
-- KEYS  1  the identity of the bank: bank:{n}:meta
--       2  bank:{n}:barrier
--       3  the index of the owner
-- ARGV  1  the id of the bank
--       2  the account
--       3  '1' to write the barrier, as in commit.lua
-- Returns 1, or an error WRONGBANK with the id of the bank that is here.

local bank_id = redis.pcall('HGET', KEYS[1], 'bank_id')
if bank_id ~= ARGV[1] then
  return redis.error_reply('WRONGBANK ' .. (type(bank_id) == 'string' and bank_id or ''))
end
redis.call('ZADD', KEYS[3], 0, ARGV[2])
if ARGV[3] == '1' then redis.call('SET', KEYS[2], redis.call('TIME')[1]) end
return 1
