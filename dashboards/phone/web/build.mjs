// Builds the page into the folder that is given, compressed: index.html, the manifest, the
// worker, and assets whose names have a hash of their content.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { icon } from './icon.mjs'

const out = process.argv[2]
if (!out) throw new Error('usage: node build.mjs FOLDER')
const assets = join(out, 'assets')
for (const old of ['assets', 'index.html.gz', 'sw.js.gz', 'manifest.webmanifest.gz']) {
  rmSync(join(out, old), { recursive: true, force: true })
}
mkdirSync(assets, { recursive: true })
const shell = createHash('sha256')
const urls = [] // of all that the page needs to open offline, relative to the worker

/** write puts a file into the folder; the worker keeps it in the browser. */
function write(path, content) {
  writeFileSync(join(out, `${path}.gz`), gzipSync(Buffer.from(content), { level: 9 }))
  shell.update(path).update(content)
  urls.push(path === 'index.html' ? '../phone' : path)
}

/** asset writes an asset and returns its path, relative to the worker. */
function asset(name, content) {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 10)
  const path = `assets/${name.replace(/(\.[^.]+)$/, `-${hash}$1`)}`
  write(path, content)
  return path
}

const options = { bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', legalComments: 'none' }
const made = await build({ ...options, entryPoints: ['src/main.ts', 'src/phone.css'], outdir: assets })
const paths = {}
for (const file of made.outputFiles) paths[basename(file.path)] = asset(basename(file.path), file.contents)
const icons = [180, 192, 512].map((size) => ({ size, path: asset(`icon-${size}.png`, icon(size)) }))
for (const { size, path } of icons) paths[`icon-${size}.png`] = path

write(
  'manifest.webmanifest',
  JSON.stringify({
    name: 'Pingline: send my position',
    short_name: 'Pingline',
    start_url: '../phone',
    scope: '../phone',
    display: 'standalone',
    background_color: '#0f141b',
    theme_color: '#0f141b',
    icons: icons
      .filter(({ size }) => size !== 180)
      .map(({ size, path }) => ({ src: path, sizes: `${size}x${size}`, type: 'image/png', purpose: 'any maskable' })),
  }),
)
const html = readFileSync('src/index.html', 'utf8').replace(/\{\{([\w.-]+)\}\}/g, (_, name) => {
  if (!paths[name]) throw new Error(`there is no ${name}`)
  return `phone/${paths[name]}`
})
write('index.html', html)
const worker = await build({
  ...options,
  format: 'iife',
  entryPoints: ['src/sw.ts'],
  define: { SHELL: JSON.stringify(urls), VERSION: JSON.stringify(shell.digest('hex').slice(0, 10)) },
})
writeFileSync(join(out, 'sw.js.gz'), gzipSync(Buffer.from(worker.outputFiles[0].contents), { level: 9 }))
