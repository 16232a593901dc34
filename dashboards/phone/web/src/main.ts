import { type Answered, IndexedDBStore, type Ping, Sender } from '../../../../clients/js/src/index.js'
import { keep, stored } from '../../../livemap/web/src/dom'
import { Theme } from '../../../livemap/web/src/theme'
import { forget, type Identity, known, remember, scanned } from './identity'
import { View } from './view'
import { Watch } from './watch'

const server = new URL('.', location.href).href
const theme = new Theme()

/** send runs the page for somebody who is known. */
function send(me: Identity): void {
  const answers: Answered<Ping>[] = [] // the last, newest first
  let on = stored('phone.on') === '1'
  let lost: string | undefined // why the browser keeps no pings
  const page = { keeping: 0 } // pings on their way into the store
  const sender = new Sender({
    url: server,
    store: new IndexedDBStore(`pingline-phone:${me.rider}`),
    name: `pingline-phone:${me.rider}`,
    key: () => me.key,
    every: 2000,
    onAnswer: (answered) => {
      answers.unshift(...answered.slice(-5).reverse())
      answers.length = Math.min(answers.length, 5)
    },
    onChange: () => update(),
  })
  const watch = new Watch(
    me,
    (ping) => {
      page.keeping++
      sender
        .add(ping)
        .then(
          () => {
            lost = undefined
          },
          (error: unknown) => {
            lost = (error as Error).message
          },
        )
        .finally(() => {
          page.keeping--
        })
      update()
    },
    () => update(),
  )
  const view = new View(theme, me, {
    toggle: () => {
      on = !on
      keep('phone.on', on ? '1' : '')
      if (on) void navigator.storage?.persist?.().catch(() => false)
      update()
    },
    another: () => {
      const { waiting } = sender.status
      const go = `${waiting} of ${me.rider}'s positions wait here, and are sent when ${me.rider} is back. Go on?`
      if (waiting > 0 && !confirm(go)) return
      forget()
      location.reload()
    },
    mend: (key) => {
      me.key = key
      remember(me.rider, key)
      sender.retry()
    },
    retry: () => sender.retry(),
  })

  function update(): void {
    const { state } = sender.status
    if (on && state !== 'elsewhere' && state !== 'stopped') watch.start()
    else watch.stop()
    view.show({ on, lost, answers, watch, status: sender.status })
  }

  ;(globalThis as { pingline?: unknown }).pingline = Object.assign(page, { sender, watch }) // for tests
  sender.start()
  update()
  setInterval(update, 1000) // ages and countdowns
}

function begin(): void {
  if (!isSecureContext) {
    View.insecure(theme)
    return
  }
  navigator.serviceWorker?.register('phone/sw.js', { scope: 'phone' }).catch(() => {
    // Without a certificate that the browser trusts there is no worker: the page needs a network to open.
  })
  addEventListener('hashchange', () => {
    if (scanned()) location.reload()
  })
  if (scanned()) keep('phone.on', '')
  const me = known()
  if (me) send(me)
  else
    View.ask(theme, (rider, key) => {
      remember(rider, key)
      location.reload()
    })
}

begin()
