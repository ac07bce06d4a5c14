#!lua
-- Removes windows of request records that have expired.
--
-- Redis must not expire them by itself: it would as soon as its clock jumped, and requests that were carried out would be
-- carried out again. So no clock is read here: whoever calls this has compared the clocks.
--
-- KEYS  1    the identity of the bank: bank:{n}:meta
--       2    the set of the windows of the partition
--       3..  the records of each window in ARGV
-- ARGV  1    the id of the bank
--       2..  the windows
-- Returns how many were removed.

if redis.pcall('HGET', KEYS[1], 'bank_id') ~= ARGV[1] then return 0 end
local removed = 0
for key = 3, #KEYS do
  redis.call('UNLINK', KEYS[key])
  removed = removed + redis.call('SREM', KEYS[2], ARGV[key - 1])
end
return removed
