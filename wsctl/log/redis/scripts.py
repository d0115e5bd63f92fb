"""The keys in Redis, and the Lua scripts that change them: append messages, renew a node's lease, note its
clients and their subscriptions, remove it.

The keys, `BASE` being `{PREFIX}:v1`:

    BASE:log         the stream: every message, its id the message's
    BASE:last:W      the newest `n` that was appended of writer W, for a while
    BASE:key:K       the message with the idempotency key K, which begins with the sender, for a while: its
                     id, its writer and `n`
    BASE:lease       each node, by when its lease ends (milliseconds of Redis's clock)
    BASE:nodes       each node's own account of itself, JSON
    BASE:turns       nodes that drain, or wait for their turn, by when they asked
    BASE:at:N        the clients of node N: since when (Redis's clock), and the connection's serial number; of
                     several connections, with a | between them
    BASE:more:N      how many connections of node N there are beyond one of each client; absent if none
    BASE:inbox:N     a stream of client ids that node N must look at: a newer connection may be elsewhere; or,
                     with a close code and a reason, that it must disconnect
    BASE:subs:N      the connections of node N that subscribe to topics, by serial number: JSON, the client's
                     id and the patterns
    BASE:presence    a stream of the changes of these, of all nodes

An entry of the log has the fields `p` (the stream's newest id before it: by it a reader knows that nothing
between is gone), `w` and `n` (its key), `r` (connections to other nodes it is for), `t` (the addressees as
JSON, empty for everyone) and `m` (the message without its id). One with a topic has `c` (the topic) and `b`
(the message) in place of `m`: a node of a release without topics, which would send it to everybody, skips
it.

An entry of the presence has `p` (like the log's), `n` (the node), and then serial numbers, each with what is
in BASE:subs:N, empty for one that is gone.
"""

from dataclasses import dataclass

from wsctl.log.idempotency import TTL
from wsctl.log.redis.client import Script

WRITER_TTL = 60
"""Seconds for which the newest `n` of a writer is remembered. A message is sent again for two."""

CHANGES = 1000
"""Changes of subscriptions that are kept, about, each of many connections: a node that reads none for so long
reads all subscriptions again."""

INBOX = 1000
"""The number of notices that wait for one node, about: a node that reads none for so long is gone."""

LARGEST = 2**53 - 1
"""The milliseconds of the largest id that is a message's: beyond it Lua does not count, and behind the last
one of all Redis gives none any more. No clock is there in the next 285,000 years."""


@dataclass(slots=True)
class Keys:
    """The names of the keys that one node uses. The braces put all of them into one slot of a cluster.

    Attributes:
        node: the node's name; another one when a process goes on as the node of its predecessor.
    """

    prefix: str
    node: str

    @property
    def base(self) -> str:
        return f"{{{self.prefix}}}:v1"

    @property
    def log(self) -> str:
        return f"{self.base}:log"

    @property
    def inbox(self) -> str:
        return self.inbox_of(self.node)

    @property
    def nodes(self) -> str:
        return f"{self.base}:nodes"

    @property
    def presence(self) -> str:
        return f"{self.base}:presence"

    def inbox_of(self, node: str) -> str:
        return f"{self.base}:inbox:{node}"

    def at(self, node: str) -> str:
        return f"{self.base}:at:{node}"


_COMMON = (
    f"local LARGEST = {LARGEST}"
    + """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local base = ARGV[1]
local node = ARGV[2]
local lease = base .. ':lease'
local OF_A_NODE = {':at:', ':more:', ':inbox:', ':subs:'}

-- Whole numbers as text, which may be larger than Lua's.
local function is_larger(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

-- Milliseconds and sequence of an id; nothing of what is none.
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  if ms and not string.match(ms, '^0%d') and not string.match(seq, '^0%d') then return ms, seq end
end

local function is_after(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return is_larger(a_ms, b_ms) or (a_ms == b_ms and is_larger(a_seq, b_seq))
end

-- The connections of a client at a node, without what cannot be read. Nobody is there since a time to come:
-- clocks differ by seconds.
local function connections_of(value)
  local found = {}
  for since, serial in string.gmatch(value or '', '(%d+) ([^|]*)') do
    since = tonumber(since)
    if since < now + 60000 then found[#found + 1] = {since = since, serial = serial} end
  end
  return found
end

local function others()
  local found = {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', lease, now, '+inf')) do
    if name ~= node then found[#found + 1] = name end
  end
  return found
end

local function newest(log)
  if redis.call('EXISTS', log) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end

-- The stream is not the one that had this id. Its next entry must not seem to follow on that.
local function go_on_behind(log, id)
  local ms, seq = parts(id)
  local start = ms .. '-' .. string.format('%d', tonumber(seq) + 1)
  if tonumber(seq) >= LARGEST then start = string.format('%d', tonumber(ms) + 1) .. '-0' end
  if redis.call('EXISTS', log) == 0 then
    redis.call('XADD', log, start, 'm', '')
    redis.call('XDEL', log, start)
  else
    redis.call('XSETID', log, start)
  end
  return start
end
"""
)

APPEND = Script(
    _COMMON
    + """
local log = KEYS[1]
local most, deadline, behind, per_id = ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
if now > deadline then return {now, 0} end
local known, everyone = {}, nil
local nodes = others()
local previous = newest(log)
if is_after(behind, previous) then previous = go_on_behind(log, behind) end

local function number_at(key)
  local found = redis.pcall('GET', key)
  local number = type(found) == 'string' and tonumber(found)
  return number and number < LARGEST and number or 0
end

local function elsewhere(to)
  local found = 0
  if to == '' then
    if not everyone then
      everyone = 0
      for _, name in ipairs(nodes) do
        everyone = everyone + redis.call('HLEN', base .. ':at:' .. name) + number_at(base .. ':more:' .. name)
      end
    end
    return everyone
  end
  for _, id in ipairs(cjson.decode(to)) do
    for _, name in ipairs(nodes) do
      local value = redis.call('HGET', base .. ':at:' .. name, id)
      if value and per_id == '1' then found = found + 1 break end
      if value then found = found + math.max(1, #connections_of(value)) end
    end
  end
  return found
end

-- The id of an earlier message with this idempotency key.
local function id_of_first(once, writer, n)
  local found = redis.pcall('GET', base .. ':key:' .. once)
  local id, its_writer, its_n = string.match(type(found) == 'string' and found or '', '^(%S+) (%S+) (%d+)$')
  if id and parts(id) and (its_writer ~= writer or its_n ~= n) then return id end
end

local answer = {now, 1}
for i = 7, #ARGV, 7 do
  local writer, n, to, topic, subscribers, once, body = unpack(ARGV, i, i + 6)
  local last = base .. ':last:' .. writer
  known[writer] = known[writer] or number_at(last)
  local first = once ~= '' and id_of_first(once, writer, n)
  if first then
    for _, part in ipairs({writer, n, first}) do answer[#answer + 1] = part end
  elseif tonumber(n) > known[writer] then
    local what = {'m', body}
    if topic ~= '' then what = {'c', topic, 'b', body} else subscribers = elsewhere(to) end
    previous = redis.call('XADD', log, 'MAXLEN', '~', most, '*',
      'p', previous, 'w', writer, 'n', n, 'r', subscribers, 't', to, unpack(what))
    known[writer] = tonumber(n)
    redis.call('SET', last, n, 'EX', """
    + str(WRITER_TTL)
    + """)
    local told = previous .. ' ' .. writer .. ' ' .. n
    if once ~= '' then redis.call('SET', base .. ':key:' .. once, told, 'EX', """
    + str(TTL)
    + """) end
  end
end
return answer
"""
)
"""Append messages, each once however often it is sent.

Arguments: base, node, how many entries the log keeps about, the moment (Redis's clock) after which nothing is
appended any more, the newest id that the node knows, how many connections a client may have; then of each
message: writer, n, addressees, topic, how many subscribers other nodes have (where it has a topic), its
idempotency key (empty for none), body. Returns Redis's clock, and 1, or 0 when it was too late; then of each
message that is not appended, since its idempotency key was seen: writer, n, and the id of the first one.
"""

BEAT = Script(
    _COMMON
    + """
local log = KEYS[1]
local lease_ms, facts, seen = tonumber(ARGV[3]), ARGV[4], ARGV[5]
local places, first, ttl_ms = ARGV[6], ARGV[7], tonumber(ARGV[8])
local cleared = 0

-- What has another type than ours is nobody's, and every command would fail.
local function clear(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then cleared = cleared + redis.call('UNLINK', key) end
end

-- The log without the entries behind which Redis could give no ids.
local function clear_beyond()
  local kept, from = base .. ':kept', '-'
  redis.call('UNLINK', kept)
  repeat
    local rows = redis.call('XRANGE', log, from, string.format('%d', LARGEST), 'COUNT', 1000)
    for _, row in ipairs(rows) do
      if #row[2] < 1000 then redis.call('XADD', kept, row[1], unpack(row[2])) end
      from = '(' .. row[1]
    end
  until #rows < 1000
  local before, after = redis.call('XLEN', log), redis.call('XLEN', kept)
  if after > 0 then redis.call('RENAME', kept, log) else redis.call('UNLINK', log) end
  cleared = cleared + math.max(1, before - after)
end

clear(log, 'stream')
clear(lease, 'zset')
clear(base .. ':nodes', 'hash')
clear(base .. ':turns', 'zset')
local names = others()
names[#names + 1] = node
for _, name in ipairs(names) do
  clear(base .. ':at:' .. name, 'hash')
  clear(base .. ':more:' .. name, 'string')
  clear(base .. ':inbox:' .. name, 'stream')
  clear(base .. ':subs:' .. name, 'hash')
end
clear(base .. ':presence', 'stream')
if is_larger(parts(newest(log)), string.format('%d', LARGEST)) then clear_beyond() end
if is_larger(parts(newest(base .. ':presence')), string.format('%d', LARGEST)) then
  cleared = cleared + redis.call('UNLINK', base .. ':presence')
end
local ended = redis.call('ZSCORE', lease, node)
local is_new = (not ended or tonumber(ended) < now) and 1 or 0
local clients = redis.call('HLEN', base .. ':at:' .. node)
local subscribed = redis.call('HLEN', base .. ':subs:' .. node)
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', lease, '-inf', '(' .. now)) do
  if dead ~= node then
    redis.call('ZREM', lease, dead)
    redis.call('ZREM', base .. ':turns', dead)
    redis.call('HDEL', base .. ':nodes', dead)
    for _, kind in ipairs(OF_A_NODE) do redis.call('UNLINK', base .. kind .. dead) end
  end
end
redis.call('ZADD', lease, now + lease_ms, node)
redis.call('HSET', base .. ':nodes', node, facts)
for _, kind in ipairs(OF_A_NODE) do redis.call('PEXPIRE', base .. kind .. node, 2 * lease_ms) end
redis.call('PEXPIRE', base .. ':presence', 2 * lease_ms)

local last = newest(log)
-- Messages that were delivered are not here: this is not the stream it was.
if is_after(seen, last) then last = go_on_behind(log, seen) end
local start, following = last, redis.call('XRANGE', log, '(' .. seen, '+', 'COUNT', 1)[1]
if following then
  local told = following[2][1] == 'p' and following[2][2] or ''
  start = parts(told) and is_after(following[1], told) and told or seen
end
local oldest = string.format('%d', now - ttl_ms) .. '-0'
if ttl_ms > 0 and (first == '' or is_after(oldest, first)) then first = oldest end
if first ~= '' then redis.call('XTRIM', log, 'MINID', first) end

local before = -1
if places == '' then
  redis.call('ZREM', base .. ':turns', node)
else
  -- Who asks in the same millisecond comes behind, whatever the names are.
  local same = redis.call('ZRANGEBYSCORE', base .. ':turns', now, '+inf', 'WITHSCORES')
  local place = #same > 0 and tonumber(same[#same]) + 1 or now
  redis.call('ZADD', base .. ':turns', 'NX', string.format('%.0f', place), node)
  before = redis.call('ZRANK', base .. ':turns', node)
end
local nodes = redis.call('HGETALL', base .. ':nodes')
return {now, start, last, is_new, before, nodes, clients, subscribed, cleared}
"""
)
"""Renew the lease of a node, and return the state that it needs to know.

Arguments: base, node, how long its lease is (milliseconds), its account of itself, the newest id it has seen
of the log, something if it wants a turn to drain, the id of the first entry that is to be kept (empty if all
are), the age of the oldest one (milliseconds; 0 for any). Returns Redis's clock, the id that was the newest
before the next entry for the node (the one it has seen, unless entries between are gone), the newest id of
the log, whether the node was not known or its lease had ended, how many have asked for a turn before it, all
nodes' accounts, how many clients of the node are known, how many of its connections that subscribe, and how
many unreadable keys and entries were cleared away.
"""

PRESENCE = Script(
    _COMMON
    + """
local mine = base .. ':at:' .. node
local per_id, more, count = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local nodes, replaced = others(), {}
-- Its next sign of life makes it tell everything anew; after its last, nobody would clear away what it tells.
if not redis.call('ZSCORE', lease, node) then return replaced end

-- The connections of a client here, the oldest first, each since when it is known to be.
local function connected(id, told)
  local known, found, rest = {}, {}, connections_of(redis.call('HGET', mine, id))
  for _, one in ipairs(rest) do known[one.serial] = one.since end
  for began, serial in string.gmatch(told, '(%S+) (%S+)') do
    local since = known[serial]
    -- One that another process had, under a number that it gave itself.
    if not since and began == '-' then since = rest[#found + 1] and rest[#found + 1].since or now end
    since = since or math.min(tonumber(began), now)
    found[#found + 1] = {since = since, serial = serial, node = node, place = #found}
  end
  table.sort(found, function(a, b) return a.since < b.since or (a.since == b.since and a.place < b.place) end)
  return found
end

-- Whether a is newer than b.
local function is_newer(a, b)
  if a.since ~= b.since then return a.since > b.since end
  if a.node ~= b.node then return a.node > b.node end
  return a.place > b.place
end

local i = 6
for _ = 1, count do
  local id, all, value = ARGV[i], connected(ARGV[i], ARGV[i + 1]), {}
  i = i + 2
  for place, one in ipairs(all) do
    one.place = place
    value[place] = string.format('%d', one.since) .. ' ' .. one.serial
  end
  redis.call('HSET', mine, id, table.concat(value, '|'))
  for _, name in ipairs(per_id > 0 and nodes or {}) do
    for place, one in ipairs(connections_of(redis.call('HGET', base .. ':at:' .. name, id))) do
      one.node, one.place = name, place
      all[#all + 1] = one
    end
  end
  table.sort(all, is_newer)
  local told = {}
  for place = per_id + 1, per_id > 0 and #all or 0 do
    local name = all[place].node
    if name == node then
      replaced[#replaced + 1] = id
      replaced[#replaced + 1] = all[place].serial
    elseif not told[name] then
      told[name] = true
      redis.call('XADD', base .. ':inbox:' .. name, 'MAXLEN', '~', """
    + str(INBOX)
    + """, '*', 'id', id)
    end
  end
end
for n = i, #ARGV do redis.call('HDEL', mine, ARGV[n]) end
if more > 0 then redis.call('SET', base .. ':more:' .. node, ARGV[4], 'KEEPTTL')
else redis.call('UNLINK', base .. ':more:' .. node) end
return replaced
"""
)
"""Note the clients that have come to a node, and those that have left it.

Arguments: base, node, how many connections a client may have (0 for any), how many connections there are
beyond one of each client, how many clients came; of each of these its id and its connections, the oldest
first, as a text with spaces between: of each since when (milliseconds of Redis's clock, or - for one that
another process had) and its serial number; then the ids of those that left. Returns the id and the serial
number of each connection for which there are too many newer ones. Other nodes get a notice of the clients
they should look at.
"""

SUBSCRIBE = Script(
    _COMMON
    + """
local stream, subs = base .. ':presence', base .. ':subs:' .. node
if not redis.call('ZSCORE', lease, node) then return 0 end
local fields = {'p', newest(stream), 'n', node}
for i = 3, #ARGV, 2 do
  local serial, told = ARGV[i], ARGV[i + 1]
  if told == '' then redis.call('HDEL', subs, serial) else redis.call('HSET', subs, serial, told) end
  fields[#fields + 1] = serial
  fields[#fields + 1] = told
end
redis.call('XADD', stream, 'MAXLEN', '~', """
    + str(CHANGES)
    + """, '*', unpack(fields))
return 1
"""
)
"""Note what connections of a node subscribe to, and tell all nodes.

Arguments: base, node; of each connection its serial number, and its client's id and patterns as JSON, empty
for one that is gone, or subscribes to nothing. Returns whether that was noted: not without a lease.
"""

SUBSCRIBED = Script(
    _COMMON
    + """
return {newest(base .. ':presence'), redis.call('HGETALL', base .. ':subs:' .. ARGV[3])}
"""
)
"""Return what is known of the connections of a node that subscribe, and the newest id of the changes that are
in it. Arguments: base, this node, that node.
"""

BYE = Script(
    _COMMON
    + """
redis.call('ZREM', lease, node)
redis.call('ZREM', base .. ':turns', node)
redis.call('HDEL', base .. ':nodes', node)
for _, kind in ipairs(OF_A_NODE) do redis.call('UNLINK', base .. kind .. node) end
if #others() == 0 then redis.call('UNLINK', base .. ':presence') end
return now
"""
)
"""Remove a node that has ended. Arguments: base, node."""
