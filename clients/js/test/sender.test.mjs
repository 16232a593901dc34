// The sender and its stores, without a server; cmd/pingline/queue_client_test.go has a real one.
import assert from 'node:assert/strict'
import test from 'node:test'
import { KeyValueStore, MemoryStore, QueueFull, Sender } from '../dist/index.js'

/** Items is a KeyValue in memory. */
class Items {
  map = new Map()
  getItem = async (key) => this.map.get(key) ?? null
  setItem = async (key, value) => void this.map.set(key, value)
  removeItem = async (key) => void this.map.delete(key)
  getAllKeys = async () => [...this.map.keys()]
}

const ping = (ts, more = {}) => ({ rider_id: 'r', ts, lat: 41, lon: -8, ...more })

/** server answers as f says: a status, or [status, headers], or undefined for all accepted. It keeps the requests. */
function server(f = () => undefined) {
  const asked = []
  const fetch = async (_url, { body, headers }) => {
    const pings = body.split('\n').map((line) => JSON.parse(line))
    asked.push({ ts: pings.map((p) => p.ts), headers, body, at: Date.now() })
    const said = f(pings, asked.length - 1)
    if (said === 'none') throw new TypeError('no answer')
    const [status, header = {}, text] = [said ?? 200].flat()
    const ok = JSON.stringify({ verdicts: pings.map(() => 'accepted'), errors: [] })
    return new Response(text ?? (status === 200 ? ok : '{"error":"no"}'), { status, headers: header })
  }
  return { fetch, asked }
}

/** sent returns once nothing waits. */
async function sent(settings, pings) {
  const store = settings.store ?? new MemoryStore()
  const answered = []
  let done
  const empty = new Promise((resolve) => {
    done = resolve
  })
  const sender = new Sender({
    url: 'http://pings.example/',
    every: 1,
    ...settings,
    store,
    onAnswer: (a) => answered.push(...a),
    onChange: (status) => status.state === 'idle' && status.waiting === 0 && done(),
  })
  await sender.add(...pings)
  sender.start()
  await empty
  await sender.stop()
  return { answered, sender }
}

for (const [name, open] of [
  ['memory', () => new MemoryStore()],
  ['key and value', () => new KeyValueStore(new Items())],
]) {
  test(`${name}: rows stay in the order in which they were added`, async () => {
    const store = open()
    await Promise.all([
      store.add([
        { ts: 3, text: 'a' },
        { ts: 1, text: 'b' },
      ]),
      store.add([{ ts: 2, text: 'c', urgent: true }]),
    ])
    const all = await store.oldest(10)
    assert.deepEqual(
      all.map((r) => r.text),
      ['a', 'b', 'c'],
    )
    assert.equal(all[2].urgent, true)
    assert.deepEqual(
      (await store.newest(2)).map((r) => r.text),
      ['b', 'c'],
    )
    assert.deepEqual(
      (await store.oldest(2)).map((r) => r.text),
      ['a', 'b'],
    )
    await store.remove([all[1].id, 99])
    assert.equal(await store.count(), 2)
    assert.deepEqual(
      (await store.newest(9)).map((r) => r.text),
      ['a', 'c'],
    )
  })
}

test('what another process has kept is there, and an item that a crash has torn is not', async () => {
  const items = new Items()
  await new KeyValueStore(items).add([
    { ts: 1, text: 'a' },
    { ts: 2, text: 'b' },
  ])
  const [first] = items.map.keys()
  items.map.set(first, '{"ts":1,')
  items.map.set('of another', 'x')
  const store = new KeyValueStore(items)
  await store.add([{ ts: 3, text: 'c' }])
  assert.deepEqual(
    (await store.oldest(9)).map((r) => r.text),
    ['b', 'c'],
  )
  assert.equal(await store.count(), 2)
  assert.ok(items.map.has('of another'))
})

test('a store that fails half-way keeps nothing of it', async () => {
  const items = new Items()
  const store = new KeyValueStore(items)
  let n = 0
  items.setItem = async (key, value) => {
    if (++n === 2) throw new Error('full')
    items.map.set(key, value)
  }
  await assert.rejects(
    store.add([
      { ts: 1, text: 'a' },
      { ts: 2, text: 'b' },
    ]),
    /full/,
  )
  assert.equal(items.map.size, 0)
  assert.equal(await store.count(), 0)
})

test('pings of the last minutes go first, and the backlog follows, oldest first', async () => {
  const { fetch, asked } = server()
  const now = Date.now()
  const old = Array.from({ length: 25 }, (_, i) => now - 3_600_000 + i)
  const live = [now - 2, now - 1]
  await sent(
    { fetch, most: 10 },
    [...old, ...live].map((ts) => ping(ts)),
  )
  assert.deepEqual(
    asked.map((a) => a.ts),
    [live, old.slice(0, 10), old.slice(10, 20), old.slice(20)],
  )
})

test('a backlog that is told to wait holds up no live ping', async () => {
  const now = Date.now()
  const isOld = (p) => p.ts < now - 1000
  let taken = false
  const { fetch, asked } = server((pings) => {
    if (!pings.every(isOld)) taken = true
    else if (!taken || asked.filter((a) => a.ts[0] < now - 1000).length < 2) return [503, { 'Retry-After': '1' }]
    return undefined
  })
  const store = new MemoryStore()
  const old = [ping(now - 900_000), ping(now - 800_000)]
  await new Sender({ url: 'http://x', store }).add(...old)
  let refused
  const first = new Promise((resolve) => {
    refused = resolve
  })
  let empty
  const all = new Promise((resolve) => {
    empty = resolve
  })
  const sender = new Sender({
    url: 'http://x',
    store,
    fetch,
    most: 2,
    onChange: (s) => (s.state === 'waiting' ? refused() : s.state === 'idle' && s.waiting === 0 && empty()),
  })
  sender.start()
  await first
  await sender.add(ping(now))
  await all
  await sender.stop()
  assert.deepEqual(
    asked.map((a) => a.ts),
    [old.map((p) => p.ts), [now], old.map((p) => p.ts)],
  )
  assert.ok(asked[2].at - asked[0].at >= 1000, 'the backlog waited as long as it was told')
})

const portal = [200, { 'Content-Type': 'text/html' }, '<html>Log in!</html>']
const half = [200, {}, '{"accepted":3,"verd']
const few = [200, {}, '{"verdicts":["accepted"]}']
for (const [name, answers, least] of [
  ['503 and a hotspot', [[503, { 'Retry-After': '2' }], portal], 2000],
  ['half an answer, and verdicts of others', [half, few], 1000],
  ['no answer', ['none'], 1000],
]) {
  test(`${name}: the same pings are sent again, unchanged`, async () => {
    const { fetch, asked } = server((_, i) => answers[i])
    const { answered, sender } = await sent({ fetch, key: () => 'pl_x' }, [ping(1), ping(2), ping(3)])
    assert.equal(asked.length, answers.length + 1)
    assert.equal(new Set(asked.map((a) => a.body)).size, 1)
    assert.ok(asked[1].at - asked[0].at >= least, 'it waits')
    assert.equal(asked[0].headers.Authorization, 'Bearer pl_x')
    assert.deepEqual(
      answered.map((a) => [a.ping.ts, a.verdict]),
      [
        [1, 'accepted'],
        [2, 'accepted'],
        [3, 'accepted'],
      ],
    )
    assert.equal(sender.status.totals.accepted, 3)
  })
}

test('413 halves down to one, which is told and dropped; each ping has its verdict', async () => {
  const { fetch, asked } = server((pings) => (pings.length > 2 || pings.some((p) => p.ts === 5) ? 413 : undefined))
  const { answered } = await sent(
    { fetch },
    Array.from({ length: 9 }, (_, i) => ping(i + 1)),
  )
  assert.deepEqual(answered.map((a) => a.ping.ts).sort(), [1, 2, 3, 4, 5, 6, 7, 8, 9])
  assert.deepEqual(
    answered.filter((a) => a.verdict !== 'accepted').map((a) => [a.ping.ts, a.verdict, a.error]),
    [[5, 'rejected', 'no']],
  )
  assert.ok(asked.length < 14, `${asked.length} requests`)
})

test('400 is a verdict: rejected, with the field', async () => {
  const { fetch, asked } = server(() => [
    400,
    {},
    '{"error":"all are invalid","errors":[{"index":1,"field":"lat","error":"not in [-90, 90]"}]}',
  ])
  const { answered } = await sent({ fetch }, [ping(1), ping(2)])
  assert.equal(asked.length, 1)
  assert.deepEqual(
    answered.map(({ ping, ...rest }) => rest),
    [
      { verdict: 'rejected', error: 'all are invalid' },
      { verdict: 'rejected', field: 'lat', error: 'not in [-90, 90]' },
    ],
  )
})

for (const [status, state] of [
  [401, 'key'],
  [403, 'key'],
  [404, 'refused'],
]) {
  test(`${status}: the pings are kept, and sent after retry`, async () => {
    const { fetch, asked } = server((_, i) => (i === 0 ? status : undefined))
    const store = new MemoryStore()
    let told
    const stuck = new Promise((resolve) => {
      told = resolve
    })
    let empty
    const all = new Promise((resolve) => {
      empty = resolve
    })
    const sender = new Sender({
      url: 'http://x',
      store,
      fetch,
      onChange: (s) => (s.state === state ? told(s) : s.acknowledged > 0 && empty()),
    })
    sender.start()
    await sender.add(ping(1))
    const at = await stuck
    assert.equal(at.waiting, 1)
    assert.equal(at.why, 'no')
    sender.retry()
    await all
    assert.equal(asked.length, 2)
    await sender.stop()
  })
}

test('an urgent ping goes alone, first, and says that it is in need', async () => {
  const { fetch, asked } = server()
  const store = new MemoryStore()
  const now = Date.now()
  const before = new Sender({ url: 'http://x', store })
  await before.addUrgent(ping(now - 2, { event: 'sos' }))
  await sent({ fetch, store }, [ping(now - 1)])
  assert.deepEqual(
    asked.map((a) => [a.ts, a.headers['Pingline-Priority']]),
    [
      [[now - 2], 'critical'],
      [[now - 1], undefined],
    ],
  )
})

test('a full queue refuses, and drops nothing', async () => {
  const store = new MemoryStore()
  const sender = new Sender({ url: 'http://x', store, capacity: 2 })
  await sender.add(ping(1), ping(2))
  await assert.rejects(sender.add(ping(3)), QueueFull)
  assert.equal(sender.status.full, true)
  assert.deepEqual(
    (await store.oldest(9)).map((r) => r.ts),
    [1, 2],
  )
})

test('where browsers have locks, one sends and the others add', async () => {
  const { fetch, asked } = server()
  const store = new MemoryStore()
  let tail = Promise.resolve()
  Object.defineProperty(globalThis, 'navigator', {
    configurable: true,
    value: {
      locks: {
        request: (_name, { signal }, held) => {
          const mine = tail.then(() => (signal.aborted ? Promise.reject(signal.reason) : held()))
          tail = mine.catch(() => {})
          return mine
        },
      },
    },
  })
  const when = (state) => {
    let done
    const is = new Promise((resolve) => {
      done = resolve
    })
    return { is, onChange: (s) => state(s) && done() }
  }
  const a = when((s) => s.acknowledged > 0)
  const b = when((s) => s.acknowledged > 0)
  const one = new Sender({ url: 'http://x', store, fetch, onChange: a.onChange })
  const two = new Sender({ url: 'http://x', store, fetch, onChange: b.onChange })
  one.start()
  two.start()
  await two.add(ping(1))
  await a.is
  assert.equal(two.status.state, 'elsewhere')
  assert.equal(asked.length, 1)
  await one.stop()
  await two.add(ping(2))
  await b.is
  assert.deepEqual(
    asked.map((r) => r.ts),
    [[1], [2]],
  )
  await two.stop()
  delete globalThis.navigator
})
