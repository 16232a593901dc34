import type { RidersAnswer } from './api'
import { latOf, lonOf, mercX, mercY } from './mercator'
import type { Change, RiderRow } from './stream'

/** Rider is a track (a device of a rider) that the stream tells of. */
export interface Rider {
  readonly rider: string
  readonly device: string
  slot: number // in the arrays of the Fleet; -1: it is gone
}

const least = 1024

/**
 * Fleet is the riders in view. Numbers stand in arrays by slot, without gaps, so that they
 * can be given to the GPU as they are. A rider keeps its Rider from one stream to the next.
 */
export class Fleet {
  count = 0
  at = 0 // server's time of the newest change, ms
  local = 0 // performance.now of at
  stale = 120 // seconds
  over = false // there are more riders than the server tells of
  partial = false // a node does not answer: its riders are missing, or where they were
  past = false // at is an earlier time, and rests

  // By slot. Positions are Web Mercator; a rider glides from one to the other within a time.
  fromX = new Float64Array(least)
  fromY = new Float64Array(least)
  toX = new Float64Array(least)
  toY = new Float64Array(least)
  begun = new Float64Array(least) // ms, of performance.now
  lasts = new Float32Array(least) // ms
  ts = new Float64Array(least) // ms since 1970
  heading = new Float32Array(least) // degrees; NaN: not known
  speed = new Float32Array(least) // m/s; NaN: not known
  isStale = new Uint8Array(least)
  riders: Rider[] = []

  private readonly byName = new Map<string, Rider>()
  private readonly byKey = new Map<number, Rider>()

  /** show takes the riders of an earlier time, of which pace seconds are played in one. */
  show(answer: RidersAnswer, now: number, glide: boolean, pace: number): void {
    const riders = answer.riders.map((r, key): RiderRow => {
      const stale = r.stale ? 1 : 0
      return [key, r.ts, r.lat, r.lon, r.speed ?? null, r.heading ?? null, stale, r.rider_id, r.device_id ?? '']
    })
    this.take({ at: answer.at, stale_s: answer.stale_s, riders }, true, now, glide, pace)
    this.past = true
  }

  /** take applies a change; all means that it is everything there is. */
  take(change: Change, all: boolean, now: number, glide: boolean, pace = 1): void {
    this.past = false
    this.at = change.at
    this.local = now
    this.stale = change.stale_s ?? this.stale
    this.over = Boolean(change.riders_over)
    this.partial = Boolean(change.partial)
    const seen = all ? new Set<Rider>() : undefined
    if (all) this.byKey.clear()
    if (this.over) this.clear()
    for (const key of change.riders_gone ?? []) {
      const rider = this.byKey.get(key)
      if (rider) this.remove(rider)
      this.byKey.delete(key)
    }
    for (const [key, ts, lat, lon, speed, heading, stale, name, device] of change.riders ?? []) {
      let rider = this.byKey.get(key)
      if (name !== undefined) {
        rider = this.named(name, device ?? '')
        this.byKey.set(key, rider)
      }
      if (!rider) continue
      seen?.add(rider)
      this.place(rider, ts, mercX(lon), mercY(lat), now, glide, pace)
      const i = rider.slot
      this.speed[i] = speed ?? Number.NaN
      this.heading[i] = heading ?? Number.NaN
      this.isStale[i] = stale
    }
    if (seen) for (const rider of this.riders.slice()) if (!seen.has(rider)) this.remove(rider)
  }

  clear(): void {
    for (const rider of this.riders) rider.slot = -1
    this.riders = []
    this.byName.clear()
    this.byKey.clear()
    this.count = 0
  }

  /** find returns a rider by its name and, if it is given, its device. */
  find(name: string, device?: string): Rider | undefined {
    if (device !== undefined) return this.byName.get(id(name, device))
    return this.byName.get(id(name, '')) ?? this.riders.find((r) => r.rider === name)
  }

  /** position returns where a slot is drawn at a time. */
  position(i: number, now: number): [x: number, y: number] {
    const lasts = this.lasts[i] ?? 0
    const part = lasts > 0 ? Math.min(1, Math.max(0, (now - (this.begun[i] ?? 0)) / lasts)) : 1
    const x = (this.fromX[i] ?? 0) + part * ((this.toX[i] ?? 0) - (this.fromX[i] ?? 0))
    const y = (this.fromY[i] ?? 0) + part * ((this.toY[i] ?? 0) - (this.fromY[i] ?? 0))
    return [x, y]
  }

  /** lonLat returns the newest position of a slot, degrees. */
  lonLat(i: number): [lon: number, lat: number] {
    return [lonOf(this.toX[i] ?? 0), latOf(this.toY[i] ?? 0)]
  }

  /** glidesUntil returns when the last rider arrives, by performance.now. */
  glidesUntil(): number {
    let end = 0
    for (let i = 0; i < this.count; i++) end = Math.max(end, (this.begun[i] ?? 0) + (this.lasts[i] ?? 0))
    return end
  }

  private named(name: string, device: string): Rider {
    const known = this.byName.get(id(name, device))
    if (known) return known
    const rider = { rider: name, device, slot: -1 }
    this.byName.set(id(name, device), rider)
    return rider
  }

  /** place has a rider glide to a position, for as long as the next is likely to take. */
  private place(rider: Rider, ts: number, x: number, y: number, now: number, glide: boolean, pace: number): void {
    const fresh = rider.slot < 0
    if (fresh) {
      rider.slot = this.count++
      this.riders.push(rider)
      if (this.count > this.ts.length) this.grow()
    }
    const i = rider.slot
    const since = ts - (this.ts[i] ?? 0)
    if (!fresh && since === 0 && this.toX[i] === x && this.toY[i] === y) return
    const [fromX, fromY] = fresh ? [x, y] : this.position(i, now)
    // Beyond half the world the way is around the other side; a jump is no way at all.
    const near = Math.abs(x - fromX) < 0.001 && Math.abs(y - fromY) < 0.001
    const glides = glide && !fresh && near && since > 0 && since < 60_000 * Math.max(1, pace / 4)
    this.fromX[i] = glides ? fromX : x
    this.fromY[i] = glides ? fromY : y
    this.toX[i] = x
    this.toY[i] = y
    this.begun[i] = now
    this.lasts[i] = glides ? Math.min(10_000, Math.max(1000, since) / pace) : 0
    this.ts[i] = ts
  }

  /** remove gives the slot of a rider to the last one. */
  private remove(rider: Rider): void {
    const i = rider.slot
    if (i < 0) return
    const last = --this.count
    const other = this.riders[last]
    this.riders.length = last
    if (other && other !== rider) {
      for (const list of this.arrays()) list[i] = list[last] ?? 0
      this.riders[i] = other
      other.slot = i
    }
    rider.slot = -1
    this.byName.delete(id(rider.rider, rider.device))
  }

  private arrays(): (Float64Array | Float32Array | Uint8Array)[] {
    return [
      this.fromX,
      this.fromY,
      this.toX,
      this.toY,
      this.begun,
      this.lasts,
      this.ts,
      this.heading,
      this.speed,
      this.isStale,
    ]
  }

  private grow(): void {
    const size = 2 * this.ts.length
    const wide = (old: Float64Array) => {
      const made = new Float64Array(size)
      made.set(old)
      return made
    }
    const narrow = (old: Float32Array) => {
      const made = new Float32Array(size)
      made.set(old)
      return made
    }
    this.fromX = wide(this.fromX)
    this.fromY = wide(this.fromY)
    this.toX = wide(this.toX)
    this.toY = wide(this.toY)
    this.begun = wide(this.begun)
    this.ts = wide(this.ts)
    this.lasts = narrow(this.lasts)
    this.heading = narrow(this.heading)
    this.speed = narrow(this.speed)
    const stale = new Uint8Array(size)
    stale.set(this.isStale)
    this.isStale = stale
  }
}

const id = (rider: string, device: string): string => `${rider}\0${device}`
