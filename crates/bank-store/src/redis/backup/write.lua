#!lua
-- Runs the commands of an import on one partition, if it is still marked with the import.
--
-- It can be run again: an entry that exists is not added.
--
-- KEYS  1    bank:{n}:meta
--       2..  the keys that are written to
-- ARGV  1    the mark
--       then for each command the number of its words, its name, the number of its key, and its other words
-- Returns 1, or an error TAKENOVER.

if redis.pcall('HGET', KEYS[1], 'bank_id') ~= ARGV[1] then
  return redis.error_reply('TAKENOVER another import has replaced this one')
end
local i = 2
while i <= #ARGV do
  local last = i + tonumber(ARGV[i])
  local name, key = ARGV[i + 1], KEYS[tonumber(ARGV[i + 2])]
  local exists = name == 'XADD' and #redis.call('XRANGE', key, ARGV[i + 3], ARGV[i + 3]) > 0
  if not exists then redis.call(name, key, unpack(ARGV, i + 3, last)) end
  i = last + 1
end
-- Something is written even if everything existed: WAIT may count only what its own connection has written.
redis.call('HSET', KEYS[1], 'bank_id', ARGV[1])
return 1
