// Keeps pings in files and sends them by the library of clients/js, until all are answered.
// Arguments: the library, the server's address, a folder, the time of the first ping in ms, and
// how many to add. Prints a line for each request's verdicts, and the totals at the end.
import { open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

const [library, url, dir, at, n] = process.argv.slice(2)
const { KeyValueStore, Sender } = await import(library)

/** files are a KeyValue in which an item is there once setItem has returned, whatever then happens. */
const files = {
  getItem: key => readFile(join(dir, encodeURIComponent(key)), 'utf8').catch(() => null),
  async setItem(key, value) {
    const path = join(dir, encodeURIComponent(key)), file = await open(path + '~', 'w')
    await file.writeFile(value)
    await file.sync()
    await file.close()
    await rename(path + '~', path)
  },
  removeItem: key => rm(join(dir, encodeURIComponent(key)), { force: true }),
  getAllKeys: async () => (await readdir(dir)).filter(name => !name.endsWith('~')).map(decodeURIComponent),
}

const counts = {}
const sender = new Sender({
  url, store: new KeyValueStore(files), most: 500,
  onAnswer(answered) {
    for (const { verdict, field } of answered) counts[[verdict, field].filter(Boolean).join(' ')] = (counts[[verdict, field].filter(Boolean).join(' ')] ?? 0) + 1
    console.log('answered', answered.length)
  },
  onChange(status) {
    if (status.acknowledged && status.waiting === 0) {
      console.log(Object.entries(counts).sort().map(c => c.join(' ')).join(', '))
      process.exit(0)
    }
  },
})
const pings = Array.from({ length: Number(n) }, (_, i) => ({
  rider_id: 'a phone', ts: Number(at) + 1000 * i, lat: i === 700 ? 95 : 41 + (i % 2) / 100, lon: -8 - ((i * 7) % 11) / 100,
}))
if (pings.length > 0) await sender.add(...pings)
console.log('kept', await sender.settings.store.count())
sender.start()
