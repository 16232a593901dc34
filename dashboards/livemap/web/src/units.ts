import { keep, stored } from './dom'

/** System is how lengths and speeds are written. */
export type System = 'metric' | 'imperial'

const milesIn = new Set(['US', 'GB', 'LR', 'MM'])

/** Units writes numbers for people, in the language of the browser. */
export class Units {
  private readonly whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 })
  private readonly short = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 })
  private readonly fine = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 })
  private readonly finer = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 })
  private readonly clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' })
  private readonly minute = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
  private readonly day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' })

  system: System

  constructor() {
    const kept = stored('units')
    this.system = kept === 'metric' || kept === 'imperial' ? kept : Units.usual()
  }

  /** choose writes numbers in another system from now on, in this browser. */
  choose(system: System): void {
    this.system = system
    keep('units', system)
  }

  /** usual returns the system of the region that the browser is set to. */
  static usual(): System {
    let region: string | undefined
    try {
      region = new Intl.Locale(navigator.language).maximize().region
    } catch {
      region = undefined
    }
    return region !== undefined && milesIn.has(region) ? 'imperial' : 'metric'
  }

  get speedUnit(): string {
    return this.system === 'metric' ? 'km/h' : 'mph'
  }

  get heightUnit(): string {
    return this.system === 'metric' ? 'm' : 'ft'
  }

  /** speedOf turns m/s into the unit. */
  speedOf(mps: number): number {
    return mps * (this.system === 'metric' ? 3.6 : 2.236936)
  }

  heightOf(metres: number): number {
    return metres * (this.system === 'metric' ? 1 : 3.28084)
  }

  speed(mps: number | null | undefined): string {
    return mps === null || mps === undefined ? '–' : `${this.whole.format(this.speedOf(mps))} ${this.speedUnit}`
  }

  height(metres: number): string {
    return `${this.whole.format(this.heightOf(metres))} ${this.heightUnit}`
  }

  distance(metres: number): string {
    if (this.system === 'imperial') {
      return metres < 300 ? `${this.whole.format(metres * 3.28084)} ft` : `${this.fine.format(metres / 1609.344)} mi`
    }
    return metres < 1000 ? `${this.whole.format(metres)} m` : `${this.fine.format(metres / 1000)} km`
  }

  count(n: number): string {
    return this.whole.format(n)
  }

  compact(n: number): string {
    return this.short.format(n)
  }

  rate(n: number): string {
    return n < 10 ? this.fine.format(n) : this.whole.format(n)
  }

  percent(share: number): string {
    return `${this.fine.format(share * 100)} %`
  }

  seconds(s: number): string {
    if (s < 1) return `${this.whole.format(s * 1000)} ms`
    if (s < 10) return `${this.finer.format(s)} s`
    return s < 120 ? `${this.whole.format(s)} s` : this.age(s)
  }

  /** age writes a time that has passed. */
  age(s: number): string {
    if (s < 90) return `${this.whole.format(Math.max(0, s))} s`
    if (s < 5400) return `${this.whole.format(s / 60)} min`
    return s < 172_800 ? `${this.fine.format(s / 3600)} h` : `${this.whole.format(s / 86_400)} days`
  }

  time(ms: number): string {
    return this.clock.format(ms)
  }

  hourMinute(ms: number): string {
    return this.minute.format(ms)
  }

  /** moment writes a time, with its day unless it is today. */
  moment(ms: number, now = Date.now()): string {
    const today = new Date(now).toDateString() === new Date(ms).toDateString()
    return today ? this.time(ms) : `${this.day.format(ms)}, ${this.time(ms)}`
  }
}

const winds = ['N', 'NE', 'E', 'SE', 'S', 'SW', 'W', 'NW']

/** heading writes a direction. */
export function heading(degrees: number): string {
  return `${Math.round(degrees)}° ${winds[Math.round(degrees / 45) % 8] ?? ''}`
}
