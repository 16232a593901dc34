// Builds the page into the folder that is given: index.html, and assets whose names
// have a hash of their content, all compressed.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { quantize } from 'topojson-client'
import { presimplify, simplify } from 'topojson-simplify'

const out = process.argv[2]
if (!out) throw new Error('usage: node build.mjs FOLDER')
const require = createRequire(import.meta.url)
const assets = join(out, 'assets')
rmSync(assets, { recursive: true, force: true })
mkdirSync(assets, { recursive: true })

/** write puts a file into the folder, compressed: so it is embedded and, to nearly all, sent. */
function write(path, content) {
  writeFileSync(`${path}.gz`, gzipSync(Buffer.from(content), { level: 9 }))
}

/** asset writes an asset and returns its URL, relative to the page. */
function asset(name, content) {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 10)
  const named = name.replace(/(\.[^.]+)$/, `-${hash}$1`)
  write(join(assets, named), content)
  return `map/assets/${named}`
}

/**
 * world returns land and borders of Natural Earth (public domain) without properties but
 * names. Corners that span less than area, in square degrees, are left out.
 */
function world(scale, area) {
  let topology = JSON.parse(readFileSync(require.resolve(`world-atlas/countries-${scale}.json`), 'utf8'))
  for (const country of topology.objects.countries.geometries) {
    delete country.id
    country.properties = { name: country.properties.name }
  }
  if (area > 0) {
    topology = simplify(presimplify(topology), area)
    delete topology.bbox
    topology = quantize(topology, 1e5)
  }
  return JSON.stringify(topology)
}

/**
 * places returns [name, longitude, latitude] of the cities that name the time zones of the
 * world, from the tz database (public domain).
 */
function places() {
  const { zones } = JSON.parse(readFileSync(require.resolve('moment-timezone/data/meta/latest.json'), 'utf8'))
  const list = Object.values(zones).map((zone) => [
    zone.name.split('/').at(-1).replaceAll('_', ' '),
    Number(zone.long.toFixed(2)),
    Number(zone.lat.toFixed(2)),
  ])
  return JSON.stringify(list)
}

const worker = readFileSync(require.resolve('maplibre-gl/dist/maplibre-gl-worker.mjs'), 'utf8')
const names = {
  WORKER_URL: asset('maplibre-worker.mjs', worker.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n')),
  WORLD_COARSE_URL: asset('world-coarse.json', world('110m', 0)),
  WORLD_FINE_URL: asset('world-fine.json', world('10m', 4e-5)),
  PLACES_URL: asset('places.json', places()),
}
const made = await build({
  entryPoints: ['src/main.ts', 'src/main.css'],
  outdir: assets,
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  splitting: true, // the map is loaded behind what is there at once
  write: false,
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  legalComments: 'eof',
  define: Object.fromEntries(Object.entries(names).map(([name, url]) => [name, JSON.stringify(url)])),
})
for (const file of made.outputFiles) write(file.path, file.contents)
/** built returns the URL of a file that esbuild has named. */
function built(_, name, kind) {
  const file = made.outputFiles
    .map(({ path }) => basename(path))
    .find((f) => f.startsWith(`${name}-`) && f.endsWith(kind))
  if (!file) throw new Error(`there is no ${name}${kind}`)
  return `map/assets/${file}`
}
write(join(out, 'index.html'), readFileSync('src/index.html', 'utf8').replace(/\{\{(\w+)(\.\w+)\}\}/g, built))
