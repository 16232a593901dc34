import { type Answered, type Judged, outcome, type Verdict, verdicts } from './answer.js'
import type { Row, Store } from './store.js'

/** Ping is the message that a rider is somewhere. Unknown numbers are left out, or null. */
export interface Ping {
  rider_id: string
  ts: number // ms since 1970, when the fix was taken
  lat: number // degrees, WGS 84
  lon: number
  speed?: number | null // m/s
  heading?: number | null // degrees
  accuracy?: number | null // m
  altitude?: number | null // m
  battery?: number | null // 0 to 1
  device_id?: string
  trip_id?: string
  event?: string
}

/** Settings set up a Sender. */
export interface Settings {
  url: string // of the server; pings go to /v1/pings below it
  store: Store
  /** A key or token of the server, or a function that is asked for it before each request. */
  key?: string | (() => string | undefined | Promise<string | undefined>)
  most?: number // pings in a request; 1000
  capacity?: number // pings in the store, beyond which add refuses; 500,000
  every?: number // ms between two requests of live pings, doubled by each level of shedding; 1000
  timeout?: number // ms for a request; 60,000
  name?: string // of the lock that one tab holds; 'pingline'
  fetch?: typeof fetch
  onAnswer?: (answered: Answered<Ping>[]) => void // called before the pings leave the store
  onChange?: (status: Status) => void
}

/**
 * State is how a Sender does: stopped; elsewhere, while another tab sends; idle, nothing waits;
 * sending; waiting, until Status.again; key, the server takes no pings with this key; refused,
 * the server knows no such address.
 */
export type State = 'stopped' | 'elsewhere' | 'idle' | 'sending' | 'waiting' | 'key' | 'refused'

export interface Status {
  state: State
  waiting: number // pings in the store
  full: boolean // add has refused a ping since the last answer
  why?: string // of waiting, key and refused
  again?: number // ms since 1970, when it tries again
  acknowledged?: number // ms since 1970, the last answer with verdicts
  level: number // of shedding, as the server said last
  totals: Record<Verdict, number> // since the Sender was made
}

/** QueueFull is thrown by add: nothing that waits is dropped to make room. */
export class QueueFull extends Error {
  override name = 'QueueFull'
}

const recent = 5 * 60_000 // ms; the server takes what is older for backfill
const longest = 60_000 // ms of back-off
const mostBytes = 1 << 20 // of a body
const trusted = 3_600_000 // ms; no Retry-After is longer

type Lane = 'live' | 'backlog'

/** Failure is how a request has failed, and when it is worth another. */
interface Failure {
  of: 'again' | 'key' | 'refused'
  why: string
  status: number // 0: no answer
  after: number // ms that the server asked for, or 0
}

interface Locks {
  request(name: string, options: { signal: AbortSignal }, held: () => Promise<void>): Promise<void>
}

/**
 * Sender keeps pings in a Store, and sends them until the server has acknowledged each.
 *
 * A request has pings of one lane, in order of time: live, if there are pings of the last five
 * minutes, by turns with the backlog, which goes oldest first. A request that was not answered
 * is made again with the same pings, and a live one only while its pings are live. Where the
 * browser has Web Locks one tab sends, and all may add.
 */
export class Sender {
  private readonly settings: Required<Omit<Settings, 'key' | 'onAnswer' | 'onChange'>> & Settings
  private readonly channel: BroadcastChannel | undefined
  private now: Status
  private size: number | undefined // of the store; undefined: not counted yet
  private running: { stop: AbortController; ended: Promise<void> } | undefined
  private wake: () => void = () => {}
  private woken = false

  private batches: Partial<Record<Lane, Row[]>> = {} // unanswered
  private limit: number // pings in a request, less than ceiling after 408
  private ceiling: number // less than most after 413
  private turn: Lane = 'live'
  private failures = 0 // in a row
  private pause = 0 // ms since 1970; no request before it
  private backlogPause = 0
  private backlogWhy = ''
  private liveAt = 0 // ms since 1970; no live request before it
  private offline = false // the last request had no answer

  constructor(settings: Settings) {
    this.settings = {
      ...settings,
      url: settings.url.replace(/\/+$/, ''),
      most: settings.most ?? 1000,
      capacity: settings.capacity ?? 500_000,
      every: settings.every ?? 1000,
      timeout: settings.timeout ?? 60_000,
      name: settings.name ?? 'pingline',
      fetch: settings.fetch ?? ((input, init) => fetch(input, init)),
    }
    this.limit = this.ceiling = this.settings.most
    const totals = Object.fromEntries(verdicts.map((v) => [v, 0])) as Record<Verdict, number>
    this.now = { state: 'stopped', waiting: 0, full: false, level: 0, totals }
    if (locks() && typeof BroadcastChannel === 'function') {
      this.channel = new BroadcastChannel(this.settings.name)
      ;(this.channel as { unref?: () => void }).unref?.() // of Node: it keeps no program running
      this.channel.onmessage = () => {
        this.count().catch(() => {})
        this.stir()
      }
    }
  }

  get status(): Status {
    return this.now
  }

  /** add keeps pings, and returns once they would survive a crash. It throws QueueFull, or what the store throws. */
  async add(...pings: Ping[]): Promise<void> {
    await this.keep(pings, false)
  }

  /** addUrgent keeps a ping that must not wait, such as an SOS: with an event. It goes alone, before all others. */
  async addUrgent(ping: Ping & { event: string }): Promise<void> {
    await this.keep([ping], true)
    this.pause = 0
    this.stir()
  }

  /** start sends what waits, now and from now on, until stop. */
  start(): void {
    if (this.running) return
    const stop = new AbortController()
    const held = () => this.run(stop.signal)
    this.tell({ state: 'elsewhere' })
    const began = locks()?.request(this.settings.name, { signal: stop.signal }, held) ?? held()
    const ended = began
      .catch((error: unknown) => {
        if (!stop.signal.aborted) throw error
      })
      .finally(() => {
        this.running = undefined
        this.tell({ state: 'stopped' })
      })
    this.running = { stop, ended }
    globalThis.addEventListener?.('online', this.backOnline)
    globalThis.addEventListener?.('pagehide', this.leave)
    globalThis.addEventListener?.('pageshow', this.comeBack)
  }

  /** stop returns when no request is in flight: one that was will be made again after the next start. */
  async stop(): Promise<void> {
    globalThis.removeEventListener?.('online', this.backOnline)
    globalThis.removeEventListener?.('pagehide', this.leave)
    globalThis.removeEventListener?.('pageshow', this.comeBack)
    await this.end()
  }

  private async end(): Promise<void> {
    this.running?.stop.abort()
    this.stir()
    await this.running?.ended
  }

  /** retry waits no longer, as after a change of the key. */
  retry(): void {
    this.failures = this.pause = this.backlogPause = this.liveAt = 0
    this.stir()
  }

  private readonly backOnline = () => {
    if (this.offline) this.retry()
  }

  // A page that is left may be kept for a while, frozen: with the lock, no other tab could send.
  private readonly leave = () => {
    void this.end()
  }

  private readonly comeBack = (event: Event) => {
    if ((event as PageTransitionEvent).persisted) void this.end().then(() => this.start())
  }

  private async keep(pings: Ping[], urgent: boolean): Promise<void> {
    const size = this.size ?? (await this.count())
    if (size + pings.length > this.settings.capacity) {
      this.tell({ full: true })
      throw new QueueFull(`${size} pings wait, of at most ${this.settings.capacity}`)
    }
    await this.settings.store.add(
      pings.map((ping) => ({ ts: ping.ts, text: JSON.stringify(ping), ...(urgent ? { urgent } : {}) })),
    )
    this.size = (this.size ?? size) + pings.length
    this.tell({ waiting: this.size })
    this.channel?.postMessage('added')
    this.stir()
  }

  private async count(): Promise<number> {
    this.size = await this.settings.store.count()
    this.tell({ waiting: this.size })
    return this.size
  }

  private async run(stop: AbortSignal): Promise<void> {
    this.batches = {} // another tab may have sent them
    while (!stop.aborted) {
      try {
        const next = await this.next()
        if (typeof next === 'number') await this.sleep(next, stop)
        else await this.send(next, stop)
      } catch (error) {
        this.fail('live', { of: 'again', why: `the pings cannot be read: ${error}`, status: 0, after: 0 })
      }
    }
  }

  /** next chooses the lane of the next request, or returns until when to wait, ms since 1970. */
  private async next(): Promise<Lane | number> {
    const now = Date.now()
    if (now < this.pause) return this.pause
    const size = await this.count()
    if (size === 0) {
      this.rest({ state: 'idle' })
      return Number.POSITIVE_INFINITY
    }
    const live = await this.pickLive(size, now)
    const urgent = live.some((row) => row.urgent)
    const due = live.length > 0 && (urgent || now >= this.liveAt)
    const backlog = now >= this.backlogPause ? await this.pickBacklog(now, live) : []
    if (due && (urgent || this.turn === 'live' || backlog.length === 0)) {
      this.batches.live = live
      return 'live'
    }
    if (backlog.length > 0) {
      this.batches.backlog = backlog
      return 'backlog'
    }
    if (size > live.length && now < this.backlogPause) {
      this.tell({ state: 'waiting', why: this.backlogWhy, again: this.backlogPause })
    } else this.rest({ state: 'idle' })
    return Math.min(...[this.liveAt, this.backlogPause].filter((at) => at > now), now + longest)
  }

  /** pickLive returns the pings of the last minutes; with them all others, if a request has room for them. */
  private async pickLive(size: number, now: number): Promise<Row[]> {
    const isLive = (row: Row) => row.ts > now - recent
    const kept = this.batches.live
    const newest = await this.settings.store.newest(this.settings.most)
    const others = newest.filter((row) => !this.batches.backlog?.includes(row))
    const urgent = newest.find((row) => row.urgent && isLive(row))
    if (urgent) return [urgent]
    if (kept?.some(isLive)) return this.cut(kept)
    delete this.batches.live
    if (!others.some(isLive)) return []
    return this.cut(size <= this.limit ? others : others.filter(isLive))
  }

  private async pickBacklog(now: number, live: Row[]): Promise<Row[]> {
    const taken = new Set(live.map((row) => row.id))
    const kept = this.batches.backlog?.filter((row) => !taken.has(row.id))
    if (kept && kept.length > 0) return this.cut(kept)
    const oldest = await this.settings.store.oldest(this.limit)
    // Where nothing is live, pings of the last minutes may lie below older ones that were added later.
    return this.cut(oldest.filter((row) => !taken.has(row.id) && (live.length === 0 || !(row.ts > now - recent))))
  }

  /** cut returns as many rows as a request may have, in order of time. */
  private cut(rows: Row[]): Row[] {
    let bytes = 0
    const fit = rows.slice(0, this.limit).filter((row, i) => {
      bytes += row.text.length
      return i === 0 || bytes <= mostBytes
    })
    return fit.sort((a, b) => a.ts - b.ts)
  }

  /** send makes a request of a lane's batch. */
  private async send(lane: Lane, stop: AbortSignal): Promise<void> {
    const rows = this.batches[lane] ?? []
    this.tell({ state: 'sending' })
    let got: { status: number; text: string; header: (name: string) => string | null }
    try {
      got = await this.request(rows, stop)
    } catch (error) {
      if (stop.aborted) return
      this.fail(lane, { of: 'again', why: said(error), status: 0, after: 0 })
      return
    }
    const level = Number(got.header('Pingline-Shed-Level'))
    if (level >= 0) this.tell({ level })
    const then = outcome(got.status, got.text, rows.length)
    if (got.status === 413 && rows.length === 1) this.ceiling = this.settings.most // not the number was too large
    if (then.of === 'verdicts') {
      await this.settle(lane, rows, then.judged)
    } else if (then.of === 'halve') {
      this.limit = rows.length >> 1
      if (got.status === 413) this.ceiling = this.limit
      this.batches[lane] = rows.slice(0, this.limit)
    } else {
      const seconds = Number(got.header('Retry-After'))
      this.fail(lane, { ...then, status: got.status, after: seconds > 0 ? Math.min(1000 * seconds, trusted) : 0 })
    }
  }

  private async request(rows: Row[], stop: AbortSignal) {
    const { key, url, timeout } = this.settings
    const headers: Record<string, string> = {}
    const secret = typeof key === 'function' ? await key() : key
    if (secret) headers.Authorization = `Bearer ${secret}`
    if (rows.some((row) => row.urgent)) headers['Pingline-Priority'] = 'critical'
    const late = new AbortController()
    const abort = () => late.abort()
    const timer = setTimeout(abort, timeout)
    stop.addEventListener('abort', abort)
    try {
      const answer = await this.settings.fetch(`${url}/v1/pings?verdicts=1`, {
        method: 'POST',
        headers,
        body: rows.map((row) => row.text).join('\n'), // each line stands for itself
        signal: late.signal,
        redirect: 'error',
        cache: 'no-store',
      })
      return { status: answer.status, text: await answer.text(), header: (name: string) => answer.headers.get(name) }
    } finally {
      clearTimeout(timer)
      stop.removeEventListener('abort', abort)
    }
  }

  /** settle tells the verdicts, and forgets the pings. */
  private async settle(lane: Lane, rows: Row[], judged: Judged[]): Promise<void> {
    const totals = { ...this.now.totals }
    const answered = rows.map((row, i): Answered<Ping> => {
      const verdict = judged[i] as Judged // there is one for each
      totals[verdict.verdict]++
      return { ping: JSON.parse(row.text) as Ping, ...verdict }
    })
    report(() => this.settings.onAnswer?.(answered))
    await this.settings.store.remove(rows.map((row) => row.id))
    delete this.batches[lane]
    this.limit = Math.min(2 * this.limit, this.ceiling)
    this.failures = 0
    this.offline = false
    this.turn = lane === 'live' ? 'backlog' : 'live'
    if (lane === 'live') this.liveAt = Date.now() + this.settings.every * 2 ** this.now.level
    await this.count()
    this.rest({ totals, acknowledged: Date.now(), full: false })
    this.channel?.postMessage('answered')
  }

  /** fail waits. A 503 for the backlog holds up nothing else: at higher levels the server takes live pings alone. */
  private fail(lane: Lane, failure: Failure): void {
    this.failures++
    this.offline = failure.status === 0
    const backoff = failure.of === 'again' ? Math.min(1000 * 2 ** (this.failures - 1), longest) : longest
    const until = Date.now() + (failure.after || backoff) * (1 + Math.random() / 2)
    if (lane === 'backlog' && failure.status === 503) {
      this.backlogPause = until
      this.backlogWhy = failure.why
      this.turn = 'live'
    } else this.pause = until
    const state = failure.of === 'again' ? 'waiting' : failure.of
    this.tell({ state, why: failure.why, again: until })
  }

  /** rest tells a state in which nothing is wrong. */
  private rest(change: Partial<Status>): void {
    const { why: _why, again: _again, ...rest } = this.now
    this.now = rest
    this.tell(change)
  }

  private tell(change: Partial<Status>): void {
    this.now = { ...this.now, ...change }
    report(() => this.settings.onChange?.(this.now))
  }

  /** stir ends a sleep, or the next one before it begins. */
  private stir(): void {
    this.woken = true
    this.wake()
  }

  private async sleep(until: number, stop: AbortSignal): Promise<void> {
    if (!this.woken && !stop.aborted) {
      await new Promise<void>((done) => {
        const timer = setTimeout(done, Math.min(Math.max(until - Date.now(), 0), longest))
        this.wake = () => {
          clearTimeout(timer)
          done()
        }
      })
    }
    this.woken = false
    this.wake = () => {}
  }
}

function locks(): Locks | undefined {
  return (globalThis.navigator as { locks?: Locks } | undefined)?.locks
}

/** report calls a function of the caller; its exception is not the queue's. */
function report(f: () => void): void {
  try {
    f()
  } catch (error) {
    setTimeout(() => {
      throw error
    })
  }
}

function said(error: unknown): string {
  const { name } = error as Error
  return name === 'AbortError' || name === 'TimeoutError' ? 'the server took too long' : 'the server does not answer'
}
