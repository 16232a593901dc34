// The worker keeps the page's own files, so that it opens without a network. Pings are none of its business.
export {} // names of its own

const prefix = 'pingline-phone-'
const name = prefix + VERSION

interface Lasting extends Event {
  waitUntil(work: Promise<unknown>): void
}

interface Fetching extends Event {
  request: Request
  respondWith(answer: Promise<Response>): void
}

const worker = self as unknown as {
  addEventListener(type: string, listener: (event: never) => void): void
  skipWaiting(): Promise<void>
  clients: { claim(): Promise<void> }
  location: Location
}
const shell = new Set(SHELL.map((url) => new URL(url, worker.location.href).href))

worker.addEventListener('install', (event: Lasting) => {
  event.waitUntil(
    caches
      .open(name)
      .then((cache) => cache.addAll([...shell].map((url) => new Request(url, { cache: 'reload' }))))
      .then(() => worker.skipWaiting()),
  )
})

worker.addEventListener('activate', (event: Lasting) => {
  event.waitUntil(
    caches
      .keys()
      .then((keys) => Promise.all(keys.filter((k) => k.startsWith(prefix) && k !== name).map((k) => caches.delete(k))))
      .then(() => worker.clients.claim()),
  )
})

worker.addEventListener('fetch', (event: Fetching) => {
  const { request } = event
  const url = new URL(request.url)
  url.hash = url.search = ''
  if (request.method !== 'GET' || !shell.has(url.href)) return
  event.respondWith(caches.match(url.href, { cacheName: name }).then((kept) => kept ?? fetch(request)))
})
