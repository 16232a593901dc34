import { get, type Settings, said } from './api'
import { el } from './dom'
import { letIn, lockedOut } from './login'
import { StatusPanel } from './status'
import { Theme } from './theme'
import { Units } from './units'

/**
 * painted waits until the browser has shown what is in the page, which takes a while where it
 * starts cold. A page in the background is not shown.
 */
const painted = () =>
  new Promise<void>((done) => {
    new PerformanceObserver(() => done()).observe({ type: 'paint', buffered: true })
    setTimeout(done, document.hidden ? 0 : 3000)
  })

/** start shows how the server is as soon as that is known; the map takes longer. */
async function start(): Promise<void> {
  const theme = new Theme()
  try {
    const settings = await get<Settings>('map/settings.json')
    const keyName = await letIn()
    addEventListener('locked', () => void lockedOut())
    const units = new Units()
    const status = new StatusPanel(settings, units)
    document.body.append(el('aside', { class: 'panel first', 'aria-label': 'Details' }, status.element))
    await painted()
    const { App } = await import('./app')
    const app = new App(settings, theme, units, status, keyName)
    await app.start()
  } catch (error) {
    document.body.replaceChildren(
      el(
        'main',
        { class: 'broken' },
        el('h1', {}, 'The live map cannot start'),
        el('p', { role: 'alert' }, said(error)),
        el('p', {}, 'It needs WebGL 2, and the server. Load the page again to try anew.'),
      ),
    )
  }
}

void start()
