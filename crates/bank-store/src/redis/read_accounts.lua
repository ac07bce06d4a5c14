#!lua flags=no-writes
-- Reads accounts at one instant.
--
-- KEYS  the accounts
-- Returns for each its fields and values in turn: none if there is no account, or the error if the key has another type.

local accounts = {}
for number, key in ipairs(KEYS) do
  local fields = redis.pcall('HGETALL', key)
  accounts[number] = fields.err or fields
end
return accounts
