import { get, type Ping, type TrackAnswer } from './api'
import { metresBetween } from './mercator'

const pages = 4 // of 10,000 points, at most

/** Track is the points of a rider from a time on, kept up to date by asking for the newest only. */
export class Track {
  points: Ping[] = []
  partial = false
  memoryOnly = false
  more = false // there are more points than were asked for
  private completeTo = 0

  constructor(
    readonly rider: string,
    readonly device: string | undefined,
    readonly from: number,
    readonly to: number | undefined, // undefined: it goes on
  ) {}

  /** update asks for what is new; the answer replaces all points from then on. */
  async update(signal: AbortSignal): Promise<void> {
    const begin = Math.max(this.from, this.completeTo)
    if (this.to !== undefined && begin > this.to) return // all of it is there
    let from = String(begin)
    const fresh: Ping[] = []
    this.more = false
    for (let page = 0; ; page++) {
      const answer: TrackAnswer = await get(
        `v1/riders/${encodeURIComponent(this.rider)}/track`,
        { from, to: this.to, device: this.device, limit: 10_000 },
        signal,
      )
      fresh.push(...answer.pings)
      this.partial = answer.partial
      this.memoryOnly = answer.memory_only ?? false
      if (answer.next === undefined) {
        this.completeTo = answer.complete_to
        break
      }
      if (page + 1 === pages) {
        this.more = true
        break
      }
      from = answer.next
    }
    this.points = [...this.points.filter((p) => p.ts < begin), ...fresh]
  }

  /** at returns where the rider was at a time, on the line between two points. */
  at(ms: number): { lat: number; lon: number } | undefined {
    const line = this.points.filter((p) => !p.late)
    const next = line.findIndex((p) => p.ts >= ms)
    const b = line[next]
    const a = line[next < 0 ? line.length - 1 : next - 1]
    if (b && b.ts === ms) return b
    if (!a) return undefined
    if (!b) return ms - a.ts < 120_000 ? a : undefined
    const part = (ms - a.ts) / (b.ts - a.ts)
    return { lat: a.lat + part * (b.lat - a.lat), lon: a.lon + part * (b.lon - a.lon) }
  }

  metres(): number {
    let sum = 0
    let before: Ping | undefined
    for (const p of this.points) {
      if (p.late) continue
      if (before) sum += metresBetween(before.lat, before.lon, p.lat, p.lon)
      before = p
    }
    return sum
  }
}

const escaped = (text: string): string => text.replace(/[<>&"']/g, (c) => `&#${c.charCodeAt(0)};`)

/** gpx writes a track as GPX 1.1, a part for each device. */
export function gpx(rider: string, points: Ping[]): string {
  const parts = [...byDevice(points)].map(([device, list]) => {
    const lines = list.map((p) => {
      const ele = p.altitude === undefined ? '' : `<ele>${p.altitude}</ele>`
      return `      <trkpt lat="${p.lat}" lon="${p.lon}">${ele}<time>${new Date(p.ts).toISOString()}</time></trkpt>`
    })
    const name = device === '' ? rider : `${rider}, ${device}`
    return `  <trk>\n    <name>${escaped(name)}</name>\n    <trkseg>\n${lines.join('\n')}\n    </trkseg>\n  </trk>`
  })
  const events = points
    .filter((p) => p.event)
    .map(
      (p) =>
        `  <wpt lat="${p.lat}" lon="${p.lon}"><time>${new Date(p.ts).toISOString()}</time><name>${escaped(p.event ?? '')}</name></wpt>`,
    )
  return `<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="Pingline" xmlns="http://www.topografix.com/GPX/1/1">\n${[...events, ...parts].join('\n')}\n</gpx>\n`
}

/** geojson writes a track as a FeatureCollection: a line for each device, and its events. */
export function geojson(rider: string, points: Ping[]): string {
  const lines = [...byDevice(points)].map(([device, list]) => ({
    type: 'Feature',
    properties: { rider_id: rider, ...(device === '' ? {} : { device_id: device }), times: list.map((p) => p.ts) },
    geometry: { type: 'LineString', coordinates: list.map((p) => [p.lon, p.lat]) },
  }))
  const events = points
    .filter((p) => p.event)
    .map((p) => ({
      type: 'Feature',
      properties: { rider_id: rider, ts: p.ts, event: p.event },
      geometry: { type: 'Point', coordinates: [p.lon, p.lat] },
    }))
  return JSON.stringify({ type: 'FeatureCollection', features: [...lines, ...events] })
}

function byDevice(points: Ping[]): Map<string, Ping[]> {
  const made = new Map<string, Ping[]>()
  for (const p of points) {
    if (p.late) continue
    const list = made.get(p.device_id ?? '') ?? []
    list.push(p)
    made.set(p.device_id ?? '', list)
  }
  return made
}
