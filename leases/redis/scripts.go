package redis

import sdk "github.com/redis/go-redis/v9"

// Each script is one call. All scripts begin with prelude. KEYS[1] is the table, KEYS[2] the index,
// KEYS[3] the row. ARGV[1..3] are layout, format and application. ARGV[4] is the key of the lease.
// The answer is a list that begins with a status:
//
//	ok        and the result
//	conflict  and the fields of the row, or nothing without a row
//	lost      the index names a row that does not exist
//	type      and the type of the row, which is no hash
//	no table
//	foreign   and the types and fields of the table's keys
//
// The scripts work on Redis 6, and name all keys that they use.
//
// A script may fail in the middle because its user lacks a right, and Redis does not undo the
// commands before. So a script that writes with several commands tries the later commands before
// the first one. It tries them on a member or field with an empty name, which never exists.
const prelude = `
local function kind(key) return redis.call('TYPE', key)['ok'] end
local function unusable()
  local t, i = kind(KEYS[1]), kind(KEYS[2])
  if t == 'none' and i == 'none' then return {'no table'} end
  if t ~= 'hash' or (i ~= 'none' and i ~= 'zset') then return {'foreign', t, i} end
  local f = redis.call('HMGET', KEYS[1], 'layout', 'format', 'application')
  for n = 1, 3 do
    if f[n] ~= ARGV[n] then return {'foreign', t, i, f[1] or '', f[2] or '', f[3] or ''} end
  end
end
local function look(row, key)
  local t = kind(row)
  if t == 'hash' then return true end
  if t ~= 'none' then return false, {'type', t} end
  if redis.call('ZSCORE', KEYS[2], key) then return false, {'lost'} end
  return false
end
local function fields(status, row)
  local all = redis.call('HGETALL', row)
  table.insert(all, 1, status)
  return all
end
local bad = unusable()
`

// begin is the beginning of a script about one row.
const begin = prelude + `
if bad then return bad end
local there, damage = look(KEYS[3], ARGV[4])
`

// expectations compares the row with pairs of field and value. ARGV[at] is the number of pairs, and
// the pairs follow it. A field that is absent equals an empty one.
const expectations = `
local function differs(at)
  for n = at + 1, at + 2 * tonumber(ARGV[at]), 2 do
    if (redis.call('HGET', KEYS[3], ARGV[n]) or '') ~= ARGV[n + 1] then return true end
  end
  return false
end
`

var (
	// initScript makes the table key. ARGV[4] is the time of creation.
	initScript = sdk.NewScript(prelude + `
if bad and bad[1] == 'no table' then
  redis.call('HSET', KEYS[1], 'layout', ARGV[1], 'format', ARGV[2], 'application', ARGV[3], 'created', ARGV[4])
  return {'ok', 'created'}
end
return bad or {'ok'}
`)

	// pageScript reads a page of the index. ARGV[4] is the lower bound, ARGV[5] the number of keys.
	pageScript = sdk.NewScript(prelude + `
if bad then return bad end
local page = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[4], '+', 'LIMIT', 0, ARGV[5])
table.insert(page, 1, 'ok')
return page
`)

	// rowsScript reads the rows of a page. KEYS[3...] are the rows, ARGV[4...] the keys of their
	// leases. The answer for a row that was deleted, and is not in the index, is ok alone.
	rowsScript = sdk.NewScript(prelude + `
if bad then return bad end
local rows = {'ok'}
for n = 3, #KEYS do
  local there, damage = look(KEYS[n], ARGV[n + 1])
  if there then rows[n - 1] = fields('ok', KEYS[n]) else rows[n - 1] = damage or {'ok'} end
end
return rows
`)

	// getScript reads a row.
	getScript = sdk.NewScript(begin + `
if damage then return damage end
if not there then return {'ok'} end
return fields('ok', KEYS[3])
`)

	// createScript makes a row. ARGV[5] is the mark of this write, ARGV[6...] are the fields. A row
	// that exists and is not in the index (it was restored, or the index was lost) is entered there.
	createScript = sdk.NewScript(begin + `
if damage then return damage end
if there then
  redis.call('ZADD', KEYS[2], 0, ARGV[4])
  if redis.call('HGET', KEYS[3], 'lastWrite') == ARGV[5] then return {'ok'} end
  return fields('conflict', KEYS[3])
end
redis.call('ZADD', KEYS[2], 'XX', 0, '')
redis.call('HSET', KEYS[3], 'lastWrite', unpack(ARGV, 5))
redis.call('ZADD', KEYS[2], 0, ARGV[4])
return {'ok'}
`)

	// updateScript changes a row. ARGV[5] is the mark of this write, ARGV[6...] are the expectations.
	// Pairs of field and value follow. An empty value removes the field.
	updateScript = sdk.NewScript(begin + expectations + `
if damage then return damage end
if not there then return {'conflict'} end
if redis.call('HGET', KEYS[3], 'lastWrite') == ARGV[5] then return {'ok'} end
if differs(6) then return fields('conflict', KEYS[3]) end
local sets, removes = {'lastWrite', ARGV[5]}, {}
for n = 7 + 2 * tonumber(ARGV[6]), #ARGV, 2 do
  if ARGV[n + 1] == '' then
    removes[#removes + 1] = ARGV[n]
  else
    sets[#sets + 1] = ARGV[n]
    sets[#sets + 1] = ARGV[n + 1]
  end
end
redis.call('ZADD', KEYS[2], 0, ARGV[4])
if #removes > 0 then redis.call('HDEL', KEYS[3], '') end
redis.call('HSET', KEYS[3], unpack(sets))
if #removes > 0 then redis.call('HDEL', KEYS[3], unpack(removes)) end
return {'ok'}
`)

	// deleteScript removes a row. ARGV[5...] are the expectations. It also removes the entry of a lost
	// row from the index.
	deleteScript = sdk.NewScript(begin + expectations + `
if damage and damage[1] == 'type' then return damage end
if there and differs(5) then return fields('conflict', KEYS[3]) end
redis.call('ZREM', KEYS[2], '')
redis.call('DEL', KEYS[3])
redis.call('ZREM', KEYS[2], ARGV[4])
return {'ok'}
`)
)
