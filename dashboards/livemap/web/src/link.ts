import { isValidCell } from 'h3-js'
import type { MetricName } from './scale'

/** Place is what the address of the page says: where, whom, when. */
export interface Place {
  map?: { zoom: number; lat: number; lon: number }
  rider?: string
  device?: string
  cell?: string
  t?: number // ms since 1970; absent: live
  metric?: MetricName
}

const metrics = ['pings', 'riders', 'waiting', 'speed']

/** furthest is the last time that the server knows, ms since 1970; no time before 1970 can be written. */
const furthest = 9_223_372_036_854

/** read reads the part of an address behind #; it leaves out whatever makes no sense. */
export function read(hash: string): Place {
  const said = new URLSearchParams(hash.replace(/^#/, ''))
  const place: Place = {}
  const numbers = /^(-?[\d.]+)\/(-?[\d.]+)\/(-?[\d.]+)$/.exec(said.get('map') ?? '')
  const [zoom, lat, lon] = (numbers ?? []).slice(1).map(Number)
  if (zoom !== undefined && lat !== undefined && lon !== undefined) {
    // A comparison with what is no number is false.
    if (zoom >= 0 && zoom <= 24 && Math.abs(lat) <= 90 && Math.abs(lon) <= 180) place.map = { zoom, lat, lon }
  }
  const rider = said.get('rider')
  if (rider) place.rider = rider
  const device = said.get('device')
  if (device) place.device = device
  const cell = said.get('cell')
  if (cell && /^[0-9a-f]{15}$/.test(cell) && isValidCell(cell)) place.cell = cell
  const t = said.get('t')
  const ms = t === null ? Number.NaN : /^\d+$/.test(t) ? Number(t) : Date.parse(t)
  if (ms >= 0 && ms <= furthest) place.t = ms
  const metric = said.get('metric')
  if (metric && metrics.includes(metric)) place.metric = metric as MetricName
  return place
}

/** write is the inverse of read. */
export function write(place: Place): string {
  const parts: string[] = []
  if (place.map) {
    const { zoom, lat, lon } = place.map
    parts.push(`map=${+zoom.toFixed(2)}/${+lat.toFixed(5)}/${+lon.toFixed(5)}`)
  }
  for (const name of ['rider', 'device', 'cell', 'metric'] as const) {
    const value = place[name]
    if (value !== undefined) parts.push(`${name}=${encodeURIComponent(value)}`)
  }
  if (place.t !== undefined) parts.push(`t=${Math.round(place.t)}`)
  return `#${parts.join('&')}`
}
