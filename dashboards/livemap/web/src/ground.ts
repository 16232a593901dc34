import {
  addProtocol,
  type ExpressionSpecification,
  type LayerSpecification,
  type Map as MapLibre,
  type StyleSpecification,
} from 'maplibre-gl'
import { Protocol } from 'pmtiles'
import { feature, mesh } from 'topojson-client'
import type { GeometryCollection, Topology } from 'topojson-specification'
import type { Settings } from './api'

/** Paints are the colours of the ground in a theme. */
interface Paints {
  sea: string
  land: string
  border: string
  text: string
  halo: string
  road: string
  building: string
  green: string
}

const paints: Record<'light' | 'dark', Paints> = {
  light: {
    sea: '#d9e2ea',
    land: '#f6f5f1',
    border: '#b9b7c2',
    text: '#5c6470',
    halo: '#f6f5f1',
    road: '#ffffff',
    building: '#e6e3dc',
    green: '#e3ecdb',
  },
  dark: {
    sea: '#0c1118',
    land: '#181f29',
    border: '#3a4554',
    text: '#94a1b2',
    halo: '#131922',
    road: '#2b3542',
    building: '#202935',
    green: '#1a2628',
  },
}

// The street map is one file, of which a viewer reads the parts that it needs.
addProtocol('pmtiles', new Protocol({ metadata: true }).tile)

const fonts = ['system-ui', 'sans-serif']
const nothing = { type: 'FeatureCollection', features: [] } as GeoJSON.FeatureCollection

/** style returns the ground: land and borders, and the street map or tiles if the server has any. */
export function style(dark: boolean, settings: Settings): StyleSpecification {
  const p = paints[dark ? 'dark' : 'light']
  const spec: StyleSpecification = {
    version: 8,
    sources: {
      land: { type: 'geojson', data: nothing, attribution: 'Natural Earth' },
      borders: { type: 'geojson', data: nothing },
      countries: { type: 'geojson', data: nothing },
      places: { type: 'geojson', data: nothing },
    },
    layers: [
      { id: 'sea', type: 'background', paint: { 'background-color': p.sea } },
      { id: 'land', type: 'fill', source: 'land', paint: { 'fill-color': p.land, 'fill-antialias': true } },
      {
        id: 'borders',
        type: 'line',
        source: 'borders',
        paint: { 'line-color': p.border, 'line-width': ['interpolate', ['linear'], ['zoom'], 2, 0.5, 8, 1.4] },
      },
    ],
  }
  if (settings.basemap) {
    spec.sources.streets = { type: 'vector', url: `pmtiles://${new URL(settings.basemap, document.baseURI).href}` }
    spec.layers.push(...streets(p))
  }
  if (settings.tiles) {
    spec.sources.tiles = {
      type: 'raster',
      tiles: [settings.tiles.url],
      tileSize: 256,
      attribution: escaped(settings.tiles.attribution),
    }
    spec.layers.push({
      id: 'tiles',
      type: 'raster',
      source: 'tiles',
      paint: dark ? { 'raster-brightness-max': 0.6, 'raster-saturation': -0.4 } : {},
    })
  }
  return spec
}

/** labels returns the layers of names, which stand above all data but riders. */
export function labels(dark: boolean): LayerSpecification[] {
  const p = paints[dark ? 'dark' : 'light']
  const paint = { 'text-color': p.text, 'text-halo-color': p.halo, 'text-halo-width': 1.4 }
  return [
    {
      id: 'country-names',
      type: 'symbol',
      source: 'countries',
      maxzoom: 7,
      layout: {
        'text-field': ['get', 'name'],
        'text-font': fonts,
        'text-size': ['interpolate', ['linear'], ['zoom'], 1, 9, 6, 15],
        'text-letter-spacing': 0.08,
        'text-max-width': 7,
        'symbol-sort-key': ['-', 0, ['get', 'size']],
      },
      paint,
    },
    {
      id: 'place-names',
      type: 'symbol',
      source: 'places',
      minzoom: 4,
      layout: {
        'text-field': ['get', 'name'],
        'text-font': fonts,
        'text-size': ['interpolate', ['linear'], ['zoom'], 4, 10, 10, 14],
      },
      paint,
    },
  ]
}

/** streets is a plain style for the layers of Protomaps' basemap and of OpenMapTiles. */
function streets(p: Paints): LayerSpecification[] {
  const source = 'streets'
  const wide = (at8: number, at18: number): ExpressionSpecification => [
    'interpolate',
    ['exponential', 1.6],
    ['zoom'],
    8,
    at8,
    18,
    at18,
  ]
  const fill = (layer: string, color: string, minzoom = 0): LayerSpecification => ({
    id: `streets-${layer}`,
    type: 'fill',
    source,
    'source-layer': layer,
    minzoom,
    paint: { 'fill-color': color },
  })
  return [
    fill('earth', p.land),
    fill('landuse', p.green),
    fill('park', p.green),
    fill('water', p.sea),
    fill('buildings', p.building, 13),
    fill('building', p.building, 13),
    ...['roads', 'transportation'].map(
      (layer): LayerSpecification => ({
        id: `streets-${layer}`,
        type: 'line',
        source,
        'source-layer': layer,
        layout: { 'line-cap': 'round', 'line-join': 'round' },
        paint: { 'line-color': p.road, 'line-width': wide(0.4, 14) },
      }),
    ),
    ...['places', 'place'].map(
      (layer): LayerSpecification => ({
        id: `streets-${layer}`,
        type: 'symbol',
        source,
        'source-layer': layer,
        layout: { 'text-field': ['get', 'name'], 'text-font': fonts, 'text-size': 12 },
        paint: { 'text-color': p.text, 'text-halo-color': p.halo, 'text-halo-width': 1.4 },
      }),
    ),
  ]
}

const escaped = (text: string): string => text.replace(/[<>&"']/g, (c) => `&#${c.charCodeAt(0)};`)

type World = Topology<{ countries: GeometryCollection<{ name: string }>; land: GeometryCollection }>

/** Ground fills the sources of the style: coarse at once, fine once it is released and a viewer looks closer. */
export class Ground {
  private fine = false
  private held = true
  private data: { land: GeoJSON.GeoJSON; borders: GeoJSON.GeoJSON; countries: GeoJSON.GeoJSON } | undefined
  private named: GeoJSON.GeoJSON | undefined

  constructor(private readonly map: MapLibre) {
    map.on('moveend', () => void this.refine())
  }

  /** load fetches what is needed at the zoom of the map. */
  async load(): Promise<void> {
    await Promise.all([this.fetchWorld(WORLD_COARSE_URL), this.fetchPlaces()])
    await this.refine()
  }

  /** fill gives the data to the sources of a new style. */
  fill(): void {
    for (const [id, data] of Object.entries({ ...this.data, places: this.named })) {
      const source = this.map.getSource(id)
      if (data && source && 'setData' in source)
        void (source as { setData(d: GeoJSON.GeoJSON): Promise<void> }).setData(data)
    }
  }

  /** release lets finer data be fetched: what is of more use is there. */
  release(): void {
    if (!this.held) return
    this.held = false
    void this.refine()
  }

  private async refine(): Promise<void> {
    if (this.held || this.fine || this.map.getZoom() < 4.5) return
    this.fine = true
    try {
      await this.fetchWorld(WORLD_FINE_URL)
    } catch {
      this.fine = false // the coarse one stays; the next move asks again
    }
  }

  private async fetchWorld(url: string): Promise<void> {
    const world = (await (await fetch(url)).json()) as World
    const countries = feature(world, world.objects.countries)
    for (const country of countries.features) unroll(country.geometry)
    const land = feature(world, world.objects.land)
    for (const part of 'features' in land ? land.features : [land]) unroll(part.geometry)
    this.data = {
      land,
      borders: mesh(world, world.objects.countries as never, (a, b) => a !== b),
      countries: { type: 'FeatureCollection', features: countries.features.flatMap(middle) },
    }
    this.fill()
  }

  private async fetchPlaces(): Promise<void> {
    const list = (await (await fetch(PLACES_URL)).json()) as [string, number, number][]
    this.named = {
      type: 'FeatureCollection',
      features: list.map(([name, lon, lat]) => ({
        type: 'Feature',
        properties: { name },
        geometry: { type: 'Point', coordinates: [lon, lat] },
      })),
    }
    this.fill()
  }
}

/** unroll has rings go on beyond 180 degrees, where they jump to the other side of the world. */
function unroll(geometry: GeoJSON.Geometry): void {
  const parts =
    geometry.type === 'Polygon' ? [geometry.coordinates] : geometry.type === 'MultiPolygon' ? geometry.coordinates : []
  for (const ring of parts.flat()) {
    let turns = 0
    let before = ring[0]?.[0] ?? 0
    for (const point of ring) {
      const lon = point[0] ?? 0
      if (lon - before > 180) turns -= 360
      if (before - lon > 180) turns += 360
      before = lon
      point[0] = lon + turns
    }
    // Around the pole: the ring is closed along it.
    const [first, last] = [ring[0]?.[0] ?? 0, ring.at(-1)?.[0] ?? 0]
    if (Math.abs(last - first) > 180) ring.push([last, -90], [first, -90], [first, ring[0]?.[1] ?? 0])
  }
}

/** middle returns a point for a country's name: the middle of the largest of its parts. */
function middle(country: GeoJSON.Feature<GeoJSON.Geometry, { name: string }>): GeoJSON.Feature[] {
  const { geometry } = country
  const parts =
    geometry.type === 'Polygon' ? [geometry.coordinates] : geometry.type === 'MultiPolygon' ? geometry.coordinates : []
  let size = 0
  let coordinates: [number, number] | undefined
  for (const [ring] of parts) {
    if (!ring) continue
    let area = 0
    let x = 0
    let y = 0
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [ax = 0, ay = 0] = ring[j] ?? []
      const [bx = 0, by = 0] = ring[i] ?? []
      const cross = ax * by - bx * ay
      area += cross / 2
      x += (ax + bx) * cross
      y += (ay + by) * cross
    }
    if (Math.abs(area) > size) {
      size = Math.abs(area)
      coordinates = [x / (6 * area), y / (6 * area)]
    }
  }
  if (!coordinates) return []
  return [
    { type: 'Feature', properties: { name: country.properties.name, size }, geometry: { type: 'Point', coordinates } },
  ]
}
