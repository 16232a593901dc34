import { createParser } from 'eventsource-parser'
import { aborted, path, Refusal, refused, said } from './api'

/** View is the part of the world that a stream tells of. */
export interface View {
  bbox: string // west,south,east,north
  res: number | undefined // of cells; undefined: none
  riders: boolean
}

/** Change is an event of the stream, as docs/stream.md describes it. */
export interface Change {
  at: number
  stale_s?: number
  gone_s?: number
  riders?: RiderRow[]
  riders_gone?: number[]
  cells?: CellRow[]
  cells_gone?: number[]
  riders_over?: boolean | number
  cells_over?: boolean | number
  partial?: boolean
}
export type RiderRow = [
  key: number,
  ts: number,
  lat: number,
  lon: number,
  speed: number | null,
  heading: number | null,
  stale: number,
  rider?: string,
  device?: string,
]
export type CellRow = [
  key: number,
  from: number,
  window: number,
  pings: number,
  riders: number,
  moving: number,
  waiting: number,
  mean: number | null,
  max: number | null,
  cell?: string,
]

/** Link is how things are with the stream; anything but live means that old data is on the map. */
export interface Link {
  state: 'off' | 'connecting' | 'live' | 'paused' | 'lost'
  reason: string
}

/** quietFor is how long the server may say nothing: it has something to say each second. */
const quietFor = 10_000

/**
 * Stream asks for GET /v1/stream and asks again when it ends or is refused, after the time
 * that the server names. EventSource would not tell that time, nor that the server is silent.
 */
export class Stream {
  private ending = new AbortController()
  private link: Link = { state: 'off', reason: '' }

  constructor(
    private readonly take: (change: Change, all: boolean) => void,
    private readonly tell: (link: Link) => void,
  ) {}

  /** open closes what is open and asks for a view. */
  open(view: View): void {
    this.ending.abort()
    this.ending = new AbortController()
    if (this.link.state === 'off') this.say('connecting')
    void this.follow(view, this.ending.signal)
  }

  close(): void {
    this.ending.abort()
    this.say('off')
  }

  private say(state: Link['state'], reason = ''): void {
    if (this.link.state === state && this.link.reason === reason) return
    this.link = { state, reason }
    this.tell(this.link)
  }

  private async follow(view: View, signal: AbortSignal): Promise<void> {
    let last = ''
    let retry = 2000
    for (let failures = 0; !signal.aborted; ) {
      let wait = retry
      const one = new AbortController()
      const end = () => one.abort()
      signal.addEventListener('abort', end)
      try {
        const answer = await fetch(
          path('v1/stream', { bbox: view.bbox, res: view.res, riders: view.riders ? 1 : undefined }),
          { headers: last === '' ? {} : { 'Last-Event-ID': last }, signal: one.signal, cache: 'no-store' },
        )
        if (!answer.ok || answer.body === null) throw await refused(answer)
        const parser = createParser({
          onId: (id) => {
            last = id // an event without data is only this, and ends a pause too
            this.say('live')
          },
          onRetry: (ms) => {
            retry = ms
          },
          onEvent: (event) => {
            failures = 0
            if (event.event === 'paused') {
              this.say('paused', (JSON.parse(event.data) as { reason: string }).reason)
            } else if (event.event === 'state' || event.event === 'change') {
              this.take(JSON.parse(event.data) as Change, event.event === 'state')
            }
          },
        })
        await read(answer.body, one, (text) => parser.feed(text))
        if (signal.aborted) return
        this.say('lost', 'The server ended the stream.')
      } catch (error) {
        if (signal.aborted) return
        failures++
        wait = Math.min(retry * failures, 15_000)
        if (error instanceof Refusal) {
          if (error.status === 400) wait = 30_000
          if (error.retryAfter > 0) wait = error.retryAfter * 1000
        }
        this.say('lost', aborted(error) ? 'The server is silent.' : said(error))
      } finally {
        signal.removeEventListener('abort', end)
        one.abort()
      }
      await sleep(wait * (1 + Math.random() / 4), signal)
    }
  }
}

/** read gives each piece of text to take, until the body ends or brings nothing for too long. */
async function read(
  body: ReadableStream<Uint8Array>,
  one: AbortController,
  take: (text: string) => void,
): Promise<void> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  for (;;) {
    const timer = setTimeout(() => one.abort(), quietFor)
    const { done, value } = await reader.read().finally(() => clearTimeout(timer))
    if (done) return
    take(decoder.decode(value, { stream: true }))
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      done()
    })
  })
}
