#!lua
-- Runs the commands of an import, if the bank is still marked with it.
--
-- It can be run again: an entry that exists is not added.
--
-- KEYS  1  bank:meta
-- ARGV  1  the mark
--       then for each command the number of its words, and its words. Each writes to a key of the bank, which is not
--       in KEYS: there are more than a call takes, and all are on one Redis.
-- Returns 1, or an error TAKENOVER.

if redis.pcall('HGET', KEYS[1], 'bank_id') ~= ARGV[1] then
  return redis.error_reply('TAKENOVER another import has replaced this one')
end
local i = 2
while i <= #ARGV do
  local last = i + tonumber(ARGV[i])
  local exists = ARGV[i + 1] == 'XADD' and #redis.call('XRANGE', ARGV[i + 2], ARGV[i + 3], ARGV[i + 3]) > 0
  if not exists then redis.call(unpack(ARGV, i + 1, last)) end
  i = last + 1
end
-- Something is written even if everything existed: WAIT may count only what its own connection has written.
redis.call('HSET', KEYS[1], 'bank_id', ARGV[1])
return 1
