/** Positions of Web Mercator: x to the east and y to the south, the world is 1 wide. */
export const mercX = (lon: number): number => (lon + 180) / 360
export const mercY = (lat: number): number =>
  0.5 - Math.log(Math.tan(Math.PI / 4 + (Math.max(-85.05, Math.min(85.05, lat)) * Math.PI) / 360)) / (2 * Math.PI)
export const lonOf = (x: number): number => x * 360 - 180
export const latOf = (y: number): number => (Math.atan(Math.exp((0.5 - y) * 2 * Math.PI)) * 360) / Math.PI - 90

/** tile is how many pixels the world is wide at zoom 0. */
export const tile = 512
const equator = 40_075_016.686

/** pixelMetres is how many metres a pixel is wide. */
export const pixelMetres = (lat: number, zoom: number): number =>
  (equator * Math.cos((lat * Math.PI) / 180)) / (tile * 2 ** zoom)

/** Box is in degrees; west is greater than east across the antimeridian. */
export interface Box {
  west: number
  south: number
  east: number
  north: number
}

/** boxText writes a box for a parameter. */
export const boxText = (b: Box): string => [b.west, b.south, b.east, b.north].map((n) => +n.toFixed(5)).join(',')

/** boxOf makes a Box of bounds that may reach beyond 180 degrees. */
export function boxOf(west: number, south: number, east: number, north: number): Box {
  const box = { west: -180, south: Math.max(-90, south), east: 180, north: Math.min(90, north) }
  if (east - west < 360) {
    box.west = wrap(west)
    box.east = wrap(east)
  }
  return box
}

/** wrap returns a longitude within [-180, 180]. */
export function wrap(lon: number): number {
  return lon >= -180 && lon <= 180 ? lon : ((((lon + 180) % 360) + 360) % 360) - 180
}

/** contains reports whether a lies in b. */
export function contains(b: Box, a: Box): boolean {
  const from = (lon: number) => (((lon - b.west) % 360) + 360) % 360
  const width = b.west === -180 && b.east === 180 ? 360 : from(b.east)
  const start = from(a.west)
  const own = a.west === -180 && a.east === 180 ? 360 : (((a.east - a.west) % 360) + 360) % 360
  return a.south >= b.south && a.north <= b.north && (width === 360 || start + own <= width)
}

/** metresBetween is the distance of two near places. */
export function metresBetween(lat1: number, lon1: number, lat2: number, lon2: number): number {
  const dx = (wrap(lon2 - lon1) * Math.cos((((lat1 + lat2) / 2) * Math.PI) / 180) * equator) / 360
  const dy = ((lat2 - lat1) * equator) / 360
  return Math.hypot(dx, dy)
}
