import type { GeoJSONSource, LayerSpecification, Map as MapLibre } from 'maplibre-gl'
import type { Activity, Ping } from './api'
import { boundary, type Cells, type Cluster } from './cells'
import { tile, wrap } from './mercator'
import { type Scale, stops } from './scale'

const nothing: GeoJSON.FeatureCollection = { type: 'FeatureCollection', features: [] }

/** Tones are the colours of data in a theme, besides those of the scale. */
export interface Tones {
  text: string
  paper: string
  track: string
  mark: string
  alarm: string
}

/** layers returns the layers of data, lowest first. */
function layers(dark: boolean, tones: Tones, lat: number, band: number): LayerSpecification[] {
  const steps = stops(dark)
  const value = ['feature-state', 'v']
  // A width in metres: a pixel is half as many metres at each next zoom.
  const pixels = (zoom: number) => (band * 2 * tile * 2 ** zoom) / (40_075_016.686 * Math.cos((lat * Math.PI) / 180))
  return [
    {
      id: 'cells',
      type: 'fill',
      source: 'cells',
      paint: {
        'fill-color': [
          'interpolate',
          ['linear'],
          ['coalesce', value, 0],
          ...steps.flatMap((c, i) => [i / (steps.length - 1), c]),
        ] as never,
        'fill-opacity': [
          'interpolate',
          ['linear'],
          ['zoom'],
          12,
          ['case', ['!=', value, null], ['coalesce', ['feature-state', 'o'], 0.72], 0.08],
          16,
          ['case', ['!=', value, null], ['*', 0.4, ['coalesce', ['feature-state', 'o'], 0.72]], 0.05],
        ] as never,
        'fill-antialias': true,
      },
    },
    {
      id: 'cell-chosen',
      type: 'line',
      source: 'chosen',
      layout: { 'line-join': 'round' },
      paint: { 'line-color': tones.mark, 'line-width': 3 },
    },
    {
      id: 'band',
      type: 'line',
      source: 'track',
      filter: ['==', ['get', 'kind'], 'line'],
      layout: { 'line-join': 'round', 'line-cap': 'round' },
      paint: {
        'line-color': tones.track,
        'line-opacity': 0.25,
        'line-width': ['interpolate', ['exponential', 2], ['zoom'], 0, pixels(0), 24, pixels(24)],
      },
    },
    {
      id: 'track',
      type: 'line',
      source: 'track',
      filter: ['==', ['get', 'kind'], 'line'],
      layout: { 'line-join': 'round', 'line-cap': 'round' },
      paint: { 'line-color': tones.track, 'line-width': ['interpolate', ['linear'], ['zoom'], 8, 1.5, 16, 3] },
    },
    {
      id: 'track-gap',
      type: 'line',
      source: 'track',
      filter: ['==', ['get', 'kind'], 'gap'],
      paint: { 'line-color': tones.track, 'line-width': 1.5, 'line-dasharray': [2, 3], 'line-opacity': 0.7 },
    },
    {
      id: 'track-points',
      type: 'circle',
      source: 'track',
      minzoom: 10,
      filter: ['in', ['get', 'kind'], ['literal', ['kept', 'waiting', 'late']]],
      paint: {
        'circle-radius': ['interpolate', ['linear'], ['zoom'], 10, 1.5, 16, 4.5],
        'circle-color': ['match', ['get', 'kind'], 'kept', tones.track, tones.paper],
        'circle-stroke-color': ['match', ['get', 'kind'], 'late', tones.alarm, 'waiting', tones.track, tones.paper],
        'circle-stroke-width': ['interpolate', ['linear'], ['zoom'], 10, 0.5, 16, 1.5],
      },
    },
    {
      id: 'clusters',
      type: 'circle',
      source: 'clusters',
      paint: {
        'circle-color': tones.paper,
        'circle-opacity': ['case', ['get', 'old'], 0.5, 0.92],
        'circle-radius': ['get', 'radius'],
        'circle-stroke-color': tones.text,
        'circle-stroke-width': 1.2,
      },
    },
    {
      id: 'cluster-counts',
      type: 'symbol',
      source: 'clusters',
      layout: {
        'text-field': ['get', 'label'],
        'text-font': ['system-ui', 'sans-serif'],
        'text-size': 12,
        'text-allow-overlap': true,
        'symbol-sort-key': ['-', 0, ['get', 'riders']],
      },
      paint: { 'text-color': tones.text },
    },
  ]
}

/** Overlay draws cells, clusters and a track on the map. */
export class Overlay {
  private drawn: string[] = []
  private drawnKey = ''
  private readonly states = new Map<string, { v: number | null; o: number }>() // of the cells that are drawn
  private clusterData = nothing
  private trackData = nothing
  private chosenData = nothing
  private lat = 0
  private ready = false

  constructor(
    private readonly map: MapLibre,
    private band: number, // metres to each side of a track
  ) {}

  /** add puts the layers into a new style. */
  add(dark: boolean, tones: Tones): void {
    for (const id of ['clusters', 'track', 'chosen']) this.map.addSource(id, { type: 'geojson', data: nothing })
    this.map.addSource('cells', { type: 'geojson', data: nothing, promoteId: 'cell', maxzoom: 14, tolerance: 0.1 })
    for (const layer of layers(dark, tones, this.lat, this.band)) this.map.addLayer(layer)
    this.ready = true
    this.drawn = []
    this.drawnKey = ''
    this.states.clear()
    this.set('clusters', this.clusterData)
    this.set('track', this.trackData)
    this.set('chosen', this.chosenData)
  }

  /** cells colours the activity in view; old says for which there is no new window. */
  cells(cells: Cells, scale: Scale, dim: number, old: (a: Activity) => boolean): void {
    if (!this.ready) return
    const names = [...cells.all.keys()].sort()
    const key = names.join()
    if (key !== this.drawnKey) {
      const features = names.map(
        (cell): GeoJSON.Feature => ({
          type: 'Feature',
          properties: { cell },
          geometry: { type: 'Polygon', coordinates: [boundary(cell)] },
        }),
      )
      this.set('cells', { type: 'FeatureCollection', features })
      for (const cell of this.drawn) {
        if (cells.all.has(cell)) continue
        this.map.removeFeatureState({ source: 'cells', id: cell })
        this.states.delete(cell)
      }
      this.drawn = names
      this.drawnKey = key
    }
    for (const [cell, a] of cells.all) {
      const value = scale.metric.value(a)
      const v = value === null ? null : scale.place(value)
      const o = 0.72 * dim * (old(a) ? 0.45 : 1)
      const was = this.states.get(cell)
      if (was && was.v === v && was.o === o) continue // each change has the map drawn anew
      this.states.set(cell, { v, o })
      this.map.setFeatureState({ source: 'cells', id: cell }, { v, o })
    }
  }

  clusters(list: Cluster[], write: (n: number) => string, old: boolean): void {
    const features = list.map(
      ({ lon, lat, riders }): GeoJSON.Feature => ({
        type: 'Feature',
        properties: { riders, label: write(riders), radius: 13 + Math.min(15, 3.2 * Math.log10(riders + 1)), old },
        geometry: { type: 'Point', coordinates: [lon, lat] },
      }),
    )
    if (features.length === 0 && this.clusterData.features.length === 0) return
    this.clusterData = { type: 'FeatureCollection', features }
    this.set('clusters', this.clusterData)
  }

  choose(cell: string | undefined): void {
    const features: GeoJSON.Feature[] = cell
      ? [{ type: 'Feature', properties: {}, geometry: { type: 'Polygon', coordinates: [boundary(cell)] } }]
      : []
    this.chosenData = { type: 'FeatureCollection', features }
    this.set('chosen', this.chosenData)
  }

  /** track draws the points of a rider. A line is broken where nothing came for gap ms. */
  track(points: Ping[], gap: number): void {
    const features: GeoJSON.Feature[] = []
    for (const line of lines(points, gap)) {
      features.push({
        type: 'Feature',
        properties: { kind: line.kind },
        geometry: { type: 'LineString', coordinates: line.coordinates },
      })
    }
    for (const p of points) {
      const kind = p.late ? 'late' : p.waiting ? 'waiting' : 'kept'
      features.push({
        type: 'Feature',
        properties: { kind, ts: p.ts },
        geometry: { type: 'Point', coordinates: [p.lon, p.lat] },
      })
    }
    this.trackData = { type: 'FeatureCollection', features }
    this.set('track', this.trackData)
    const first = points[0]
    if (first) {
      this.lat = first.lat
      this.width(this.band)
    }
  }

  /** width sets the half width of the band, metres. */
  width(band: number): void {
    this.band = band
    if (!this.ready) return
    const pixels = (zoom: number) =>
      (band * 2 * tile * 2 ** zoom) / (40_075_016.686 * Math.cos((this.lat * Math.PI) / 180))
    this.map.setPaintProperty('band', 'line-width', [
      'interpolate',
      ['exponential', 2],
      ['zoom'],
      0,
      pixels(0),
      24,
      pixels(24),
    ])
  }

  private set(id: string, data: GeoJSON.FeatureCollection): void {
    if (this.ready) void this.map.getSource<GeoJSONSource>(id)?.setData(data)
  }
}

/** lines returns the lines of each device, in parts where nothing came for gap ms. */
function lines(points: Ping[], gap: number): { kind: 'line' | 'gap'; coordinates: [number, number][] }[] {
  const devices = new Map<string, Ping[]>()
  for (const p of points) {
    if (p.late) continue
    const list = devices.get(p.device_id ?? '') ?? []
    list.push(p)
    devices.set(p.device_id ?? '', list)
  }
  const made: { kind: 'line' | 'gap'; coordinates: [number, number][] }[] = []
  for (const list of devices.values()) {
    let part: [number, number][] = []
    let before: Ping | undefined
    let last = list[0]?.lon ?? 0
    for (const p of list) {
      const lon = last + wrap(p.lon - last)
      // Pings that were left out between two points lie on the line: only silence is a gap.
      if (before && (p.ts - before.ts) / ((p.skipped ?? 0) + 1) > gap) {
        if (part.length > 1) made.push({ kind: 'line', coordinates: part })
        made.push({
          kind: 'gap',
          coordinates: [
            [last, before.lat],
            [lon, p.lat],
          ],
        })
        part = []
      }
      part.push([lon, p.lat])
      last = lon
      before = p
    }
    if (part.length > 1) made.push({ kind: 'line', coordinates: part })
  }
  return made
}
