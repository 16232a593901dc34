import { cellToBoundary, cellToLatLng, cellToParent, getResolution } from 'h3-js'
import type { Activity, CellsAnswer } from './api'
import { wrap } from './mercator'
import type { Change } from './stream'

/** Cluster is a number of riders about a place. */
export interface Cluster {
  lon: number
  lat: number
  riders: number
}

/** Cells is the activity in view, by H3 index, live or of an earlier time. */
export class Cells {
  over = false // there are more cells than the server tells of
  readonly all = new Map<string, Activity>()
  private readonly names = new Map<number, string>()

  /** take applies a change of the stream; everything is true if it is all there is. */
  take(change: Change, everything: boolean): void {
    this.over = Boolean(change.cells_over)
    if (everything) this.names.clear()
    const before = everything ? new Set(this.all.keys()) : undefined
    if (this.over) this.clear()
    for (const key of change.cells_gone ?? []) {
      this.all.delete(this.names.get(key) ?? '')
      this.names.delete(key)
    }
    for (const [key, from, window_s, pings, riders, moving, waiting, speed_mean, speed_max, cell] of change.cells ??
      []) {
      if (cell !== undefined) this.names.set(key, cell)
      const name = this.names.get(key)
      if (name === undefined) continue
      before?.delete(name)
      this.all.set(name, { from, window_s, pings, riders, moving, waiting, speed_mean, speed_max })
    }
    for (const name of before ?? []) this.all.delete(name)
  }

  /** show takes the answer of GET /v1/cells?at=. */
  show(answer: CellsAnswer): void {
    this.clear()
    for (const { properties } of answer.features) this.all.set(properties.cell, properties)
  }

  clear(): void {
    this.all.clear()
    this.names.clear()
  }

  /** clusters counts riders by cells of a coarser resolution. */
  clusters(res: number): Cluster[] {
    const sums = new Map<string, Cluster>()
    for (const [cell, { riders }] of this.all) {
      if (riders === 0) continue
      const parent = getResolution(cell) > res ? cellToParent(cell, res) : cell
      const [lat, lon] = cellToLatLng(cell)
      const sum = sums.get(parent)
      if (!sum) {
        sums.set(parent, { lon, lat, riders })
        continue
      }
      const share = riders / (sum.riders + riders)
      sum.lon = wrap(sum.lon + share * wrap(lon - sum.lon))
      sum.lat += share * (lat - sum.lat)
      sum.riders += riders
    }
    return [...sums.values()]
  }
}

/** boundary returns the corners of a cell, without a jump at the antimeridian. */
export function boundary(cell: string): [lon: number, lat: number][] {
  const ring = cellToBoundary(cell, true) as [number, number][]
  const first = ring[0]?.[0] ?? 0
  return ring.map(([lon, lat]) => [first + wrap(lon - first), lat])
}

/** edges are the lengths of a side of a cell by resolution, km. */
const edges = [1281, 483, 183, 68.98, 26.07, 9.85, 3.72, 1.41, 0.53, 0.2, 0.076, 0.029, 0.011, 0.004, 0.0015, 0.0006]

/** finest returns the finest of the resolutions whose sides are at least some pixels long. */
export function finest(resolutions: number[], pixels: number, metresOfPixel: number): number | undefined {
  const sorted = resolutions.toSorted((a, b) => b - a)
  for (const res of sorted) {
    if (((edges[res] ?? 0) * 1000) / metresOfPixel >= pixels) return res
  }
  return sorted.at(-1)
}
