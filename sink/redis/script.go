package redis

import (
	"crypto/sha1" //nolint:gosec // Redis names a script by it
	"encoding/hex"
)

// newer is the script that takes a ping over if no newer one is there. A script and no
// function: functions need Redis 7 or Valkey 7.2 and the right to change the libraries of
// a server, and two versions of Pingline at one server would replace each other's.
//
//	KEYS  the rider's hash, the geo set, the sorted set of ts, and the stream if changes go there
//	ARGV  1 ts, "" only asks whether a write would be taken
//	      2 ms until the rider expires, 0: never
//	      3 none, publish or stream
//	      4 the channel, or about how many changes the stream keeps
//	      5 message to the channel
//	      6 rider
//	      7 1 if the geo set can have the place
//	      8… fields of the hash, name and value in turn: ts, lat and lon first
//
// A ping of the same ts is taken over and tells no change, so that a row that comes again
// repairs a write that was broken off, and is told once. What can fail comes before the
// hash: a row that was not taken whole is not the newest, and is tried again. A rider whose key
// is no hash is refused by a code of our own, and hinders nobody else.
const newer = `
if ARGV[1] == '' then
  return redis.call('ZADD', KEYS[3], 'XX', 0, '')
end
local was, changed = redis.pcall('HGET', KEYS[1], 'ts'), true
if type(was) == 'table' then
  if string.find(was.err, 'WRONGTYPE', 1, true) then
    return redis.error_reply('RIDERTYPE a key of a rider is of another type')
  end
  return was
end
if was then
  local a, b = tonumber(was), tonumber(ARGV[1])
  if a and a > b then return 0 end
  changed = a ~= b
end
if ARGV[7] == '1' then
  redis.call('GEOADD', KEYS[2], ARGV[13], ARGV[11], ARGV[6])
else
  redis.call('ZREM', KEYS[2], ARGV[6])
end
redis.call('ZADD', KEYS[3], ARGV[1], ARGV[6])
if changed and ARGV[3] == 'stream' then
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[4], '*', 'rider_id', ARGV[6], unpack(ARGV, 8))
elseif changed and ARGV[3] == 'publish' then
  redis.call('PUBLISH', ARGV[4], ARGV[5])
end
if was then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], unpack(ARGV, 8))
if ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
`

// sweep is the script that takes riders out of the two sets whose newest ping is older than
// ARGV[1], ms, at most 1,000; their hashes expire by themselves. KEYS are the geo set and
// the sorted set of ts. It returns how many riders it took out.
const sweep = `
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[1], 'LIMIT', 0, 1000)
if #gone > 0 then
  redis.call('ZREM', KEYS[1], unpack(gone))
  redis.call('ZREM', KEYS[2], unpack(gone))
end
return #gone
`

// riderType is the code of the refusal of a rider whose key is no hash.
const riderType = "RIDERTYPE"

var newerSHA = func() string {
	sum := sha1.Sum([]byte(newer)) //nolint:gosec // Redis names a script by it
	return hex.EncodeToString(sum[:])
}()
