#!lua flags=no-writes
-- Reads accounts as they all are at one instant.
--
-- KEYS  the accounts
-- Returns for each its fields and their values in turn, none where there is no account, or the error
-- of Redis where the key is something else.

local accounts = {}
for number, key in ipairs(KEYS) do
  local fields = redis.pcall('HGETALL', key)
  accounts[number] = fields.err or fields
end
return accounts
