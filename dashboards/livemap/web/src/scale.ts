import type { Activity } from './api'
import type { Units } from './units'

export type MetricName = 'pings' | 'riders' | 'waiting' | 'speed'

/** Metric is a number of a cell that its colour can tell. */
export interface Metric {
  name: MetricName
  label: string
  meaning(units: Units): string // what the colour says, with its unit
  value(a: Activity): number | null
  root: boolean // the scale is of square roots, since few cells have most
  fixed?: number // end of the scale; otherwise it follows what is in view
  write(n: number, units: Units): string
}

export const metrics: Record<MetricName, Metric> = {
  pings: {
    name: 'pings',
    label: 'Pings',
    meaning: () => 'Pings a minute in each cell',
    value: (a) => (a.pings * 60) / a.window_s,
    root: true,
    write: (n, units) => units.compact(n),
  },
  riders: {
    name: 'riders',
    label: 'Riders',
    meaning: () => 'Riders seen in each cell',
    value: (a) => a.riders,
    root: true,
    write: (n, units) => units.compact(n),
  },
  waiting: {
    name: 'waiting',
    label: 'Waiting',
    meaning: () => 'Riders in each cell who stand still, %',
    value: (a) => (a.riders > 0 ? a.waiting / a.riders : null),
    root: false,
    fixed: 1,
    write: (n) => `${Math.round(n * 100)}`,
  },
  speed: {
    name: 'speed',
    label: 'Speed',
    meaning: (units) => `Mean speed in each cell, ${units.speedUnit}`,
    value: (a) => a.speed_mean,
    root: false,
    write: (n, units) => `${Math.round(units.speedOf(n))}`,
  },
}
export const metricNames = Object.keys(metrics) as MetricName[]

/** Viridis: even steps to the eye, also without colour and with any colour blindness. */
const viridis = ['#440154', '#472d7b', '#3b528b', '#2c728e', '#21918c', '#28ae80', '#5ec962', '#addc30', '#fde725']

/** stops returns the colours from few to many: many stands out from the ground. */
export function stops(dark: boolean): string[] {
  return dark ? viridis : viridis.slice().reverse()
}

/** Scale maps values to [0, 1]. Its end changes only if what is in view has changed much. */
export class Scale {
  end = 1

  constructor(readonly metric: Metric) {
    this.end = metric.fixed ?? 0
  }

  /** fit follows the values in view; it reports whether the end has changed. */
  fit(values: number[]): boolean {
    if (this.metric.fixed !== undefined || values.length === 0) return false
    const sorted = values.toSorted((a, b) => a - b)
    const high = Math.max(sorted[Math.floor((sorted.length - 1) * 0.98)] ?? 0, 1e-9)
    if (high <= this.end && high > this.end / 3) return false
    this.end = round(high)
    return true
  }

  /** place returns where a value stands on the scale. */
  place(n: number): number {
    const share = Math.max(0, Math.min(1, n / (this.end || 1)))
    return this.metric.root ? Math.sqrt(share) : share
  }

  /** ticks returns five values, evenly spaced on the scale. */
  ticks(): number[] {
    return [0, 0.25, 0.5, 0.75, 1].map((at) => (this.metric.root ? at * at : at) * (this.end || 1))
  }
}

/** round returns the next larger number of 1, 2, 4 or 8 times a power of ten. */
function round(n: number): number {
  const power = 10 ** Math.floor(Math.log10(n))
  for (const step of [1, 2, 4, 8]) if (step * power >= n) return step * power
  return 10 * power
}
