import { get, refused, said } from './api'
import { el, setText } from './dom'

const route = 'map/session'

/** Session is what the server knows of this page. */
interface Session {
  needed: boolean // a key is needed, and the server has none that will do
  name: string // of the key; empty without one
}

/** letIn asks for a key where one is needed, and returns its name once the server takes it. */
export async function letIn(): Promise<string> {
  const session = await get<Session>(route)
  if (!session.needed) return session.name
  const pill = document.querySelector('.bar.first .pill')
  if (pill) setText(pill, 'Locked')
  const main = el('main')
  document.body.append(main)
  const name = await ask(main, 'The map takes a key')
  main.remove()
  if (pill) setText(pill, 'Loading the map')
  return name
}

/** lockedOut asks anew when the server takes the key no longer; the page then begins again, at the same place. */
export async function lockedOut(): Promise<void> {
  if (document.querySelector('.login') !== null) return
  const dialog = el('dialog', { class: 'locked', 'aria-label': 'A key is needed' })
  dialog.addEventListener('cancel', (event) => event.preventDefault()) // what is behind it is old
  document.body.append(dialog)
  dialog.showModal()
  await ask(dialog, 'The key is taken no longer')
  location.reload()
}

/** leave ends the session. */
export async function leave(): Promise<void> {
  await fetch(route, { method: 'DELETE' }).catch(() => undefined)
  location.reload()
}

/** ask shows a place for a key until the server takes one. */
function ask(place: HTMLElement, title: string): Promise<string> {
  if (!isSecureContext) {
    place.append(
      el(
        'section',
        { class: 'login' },
        el('h2', {}, title),
        el(
          'p',
          { role: 'alert' },
          'This page came over http:, where others can read a key on its way. Open it by https:, or on the machine itself.',
        ),
      ),
    )
    return new Promise(() => {})
  }
  return new Promise((done) => {
    const key = el('input', {
      type: 'password',
      name: 'key',
      id: 'key',
      autocomplete: 'current-password',
      spellcheck: 'false',
      required: true,
      'aria-describedby': 'key-problem',
    })
    const problem = el('p', { class: 'problem', id: 'key-problem', role: 'alert' })
    const button = el('button', { type: 'submit' }, 'Open the map')
    const form = el(
      'form',
      {
        class: 'login',
        submit: (event: SubmitEvent) => {
          event.preventDefault()
          button.disabled = true
          show(key.value.trim())
            .then(done)
            .catch((error: unknown) => {
              problem.textContent = said(error)
              key.select()
            })
            .finally(() => {
              button.disabled = false
            })
        },
      },
      el('h2', {}, title),
      el('p', {}, 'It needs one with the scope read, for all riders.'),
      el('label', { for: 'key' }, 'Key or token'),
      key,
      button,
      problem,
    )
    place.append(form)
    key.focus()
  })
}

/** show shows the server a key. It comes back in a cookie that scripts cannot read. */
async function show(key: string): Promise<string> {
  if (!/^[\x21-\x7e]+$/.test(key)) throw new Error('A key has letters, digits and signs without spaces.')
  const answer = await fetch(route, { method: 'POST', headers: { Authorization: `Bearer ${key}` } })
  if (!answer.ok) throw await refused(answer)
  const { needed, name } = await get<Session>(route)
  if (needed) throw new Error('The browser keeps no cookie of this page, by which the server would know it again.')
  return name
}
