import type { Answered, Ping, State, Status, Verdict } from '../../../../clients/js/src/index.js'
import { el, setText } from '../../../livemap/web/src/dom'
import type { Theme } from '../../../livemap/web/src/theme'
import type { Identity } from './identity'
import type { Watch } from './watch'

/** Shown is all that the page tells. */
export interface Shown {
  on: boolean
  lost: string | undefined // why the browser keeps no pings
  answers: Answered<Ping>[] // newest first
  watch: Watch
  status: Status
}

interface Acts {
  toggle(): void
  another(): void
  mend(key: string): void
  retry(): void
}

type Tone = 'good' | 'busy' | 'warn' | 'alarm' | 'off'

const meanings: Record<Verdict, string> = {
  accepted: 'stored',
  held: 'kept until the next one',
  redundant: 'on the line of those that are stored',
  duplicate: 'was there already',
  shed: 'dropped by the server, which has too much to do',
  rejected: 'refused',
}

const limits = [
  'Positions come only while this page is in front and the screen is on: the browser gives none to a page in the background. The page keeps the screen on where the browser allows it.',
  'What was found before is kept in this browser, over a reload or days without a network, and is sent when the page is open again.',
  'Whoever clears the data of this site deletes what still waits. Safari does so by itself after seven days of use without a visit, unless the page is on the home screen.',
  'For a phone in a pocket take an app: OwnTracks, Overland, Traccar Client or GPSLogger.',
]

/** View draws the page for somebody who is known. */
export class View {
  private readonly dot = el('span', { class: 'dot' })
  private readonly title = el('h2')
  private readonly detail = el('p', { class: 'detail' })
  private readonly more = el('p', { class: 'detail more' }) // changes each second: not announced
  private readonly toggle: HTMLButtonElement
  private readonly retry: HTMLButtonElement
  private readonly mend: HTMLFormElement
  private before: State = 'stopped' // the last state but a try after a failure
  private readonly figures = new Map<string, HTMLElement>()
  private readonly list = el('ol', { class: 'answers' })

  constructor(
    theme: Theme,
    me: Identity,
    private readonly acts: Acts,
  ) {
    this.toggle = el('button', { class: 'main', click: () => acts.toggle() })
    this.retry = el('button', { click: () => acts.retry() }, 'Try now')
    this.mend = this.keyForm()
    const figures = el('dl', { class: 'card figures' })
    for (const [name, words] of [
      ['waiting', 'Waiting here'],
      ['answered', 'Answered'],
      ['last', 'Last answer'],
      ['position', 'Last position'],
    ] as const) {
      const value = el('dd')
      this.figures.set(name, value)
      figures.append(el('div', {}, el('dt', {}, words), value))
    }
    const accuracy = el('dd', { class: 'small' })
    this.figures.set('accuracy', accuracy)
    figures.lastElementChild?.append(accuracy)
    page(
      theme,
      el(
        'section',
        { class: 'card state' },
        el(
          'div',
          { class: 'line' },
          this.dot,
          el('div', {}, el('div', { role: 'status' }, this.title, this.detail), this.more),
        ),
        this.mend,
        el('div', { class: 'buttons' }, this.toggle, this.retry),
      ),
      figures,
      el('section', { class: 'card' }, el('h2', {}, 'Last verdicts'), this.list),
      el(
        'section',
        { class: 'card' },
        el('h2', {}, 'What this page can do'),
        el('ul', { class: 'limits' }, ...limits.map((text) => el('li', {}, text))),
      ),
      el(
        'section',
        { class: 'card who' },
        el('p', {}, 'Sends as ', el('strong', {}, me.rider), ', from ', el('span', {}, me.device)),
        el('button', { click: () => acts.another() }, 'Be somebody else'),
      ),
    )
  }

  show(shown: Shown): void {
    // While it tries again it is as it was: green would be too early.
    if (shown.status.state !== 'sending' || shown.status.why === undefined) this.before = shown.status.state
    const status = { ...shown.status, state: this.before }
    const [tone, title, detail] = state({ ...shown, status })
    this.dot.dataset.tone = tone
    setText(this.title, title)
    setText(this.detail, detail)
    setText(this.more, progress(status))
    setText(this.toggle, shown.on ? 'Stop' : 'Start')
    this.toggle.classList.toggle('stop', shown.on)
    this.toggle.hidden = status.state === 'elsewhere'
    this.retry.hidden = !(status.state === 'waiting' || status.state === 'refused')
    this.mend.hidden = status.state !== 'key'
    const answered = Object.values(status.totals).reduce((a, b) => a + b, 0)
    this.figure('waiting', String(status.waiting))
    this.figure('answered', String(answered))
    this.figure('last', status.acknowledged ? clock(status.acknowledged) : '–')
    const { last } = shown.watch
    this.figure('position', last ? clock(last.ts) : '–')
    this.figure('accuracy', last?.accuracy ? `within ${Math.round(last.accuracy)} m` : '')
    this.answers(shown.answers)
  }

  private figure(name: string, text: string): void {
    const value = this.figures.get(name)
    if (value) setText(value, text)
  }

  private answers(answers: Answered<Ping>[]): void {
    const lines = answers.map(
      ({ ping, verdict, error }) => [clock(ping.ts), verdict, error ?? meanings[verdict]] as const,
    )
    const now = lines.flat().join('\n')
    if (this.list.dataset.now === now) return
    this.list.dataset.now = now
    this.list.replaceChildren(
      ...(lines.length === 0 ? [el('li', { class: 'none' }, 'None yet.')] : []),
      ...lines.map(([at, verdict, means]) =>
        el('li', {}, el('span', { class: 'at' }, at), el('strong', { class: verdict }, verdict), el('span', {}, means)),
      ),
    )
  }

  private keyForm(): HTMLFormElement {
    const key = el('input', { type: 'password', id: 'new-key', autocomplete: 'off', required: true })
    return el(
      'form',
      {
        hidden: true,
        submit: (event: SubmitEvent) => {
          event.preventDefault()
          this.acts.mend(key.value.trim())
          key.value = ''
        },
      },
      el('label', { for: 'new-key' }, 'Another key'),
      key,
      el('button', { type: 'submit' }, 'Take this key'),
    )
  }

  /** ask asks who sends. */
  static ask(theme: Theme, done: (rider: string, key: string) => void): void {
    const rider = el('input', {
      id: 'rider',
      autocomplete: 'username',
      autocapitalize: 'none',
      spellcheck: 'false',
      required: true,
      maxlength: 128,
    })
    const key = el('input', {
      id: 'key',
      type: 'password',
      autocomplete: 'current-password',
      'aria-describedby': 'key-help',
    })
    page(
      theme,
      el(
        'form',
        {
          class: 'card ask',
          submit: (event: SubmitEvent) => {
            event.preventDefault()
            if (rider.value.trim() !== '') done(rider.value.trim(), key.value.trim())
          },
        },
        el('h2', {}, 'Send my position'),
        el('p', { class: 'detail' }, 'This page sends where this phone is, while the page is open. It asks once.'),
        el('label', { for: 'rider' }, 'Rider'),
        rider,
        el('label', { for: 'key' }, 'Key'),
        key,
        el(
          'p',
          { class: 'detail', id: 'key-help' },
          'Leave it empty where the server asks for none. It stays in this browser.',
        ),
        el('button', { type: 'submit', class: 'main' }, 'Go on'),
      ),
      el(
        'section',
        { class: 'card' },
        el('h2', {}, 'What this page can do'),
        el('ul', { class: 'limits' }, ...limits.map((text) => el('li', {}, text))),
      ),
    )
  }

  /** insecure says why nothing is possible. */
  static insecure(theme: Theme): void {
    page(
      theme,
      el(
        'section',
        { class: 'card state' },
        el(
          'div',
          { class: 'line', role: 'alert' },
          el('span', { class: 'dot', 'data-tone': 'alarm' }),
          el(
            'div',
            {},
            el('h2', {}, 'This page came over http:'),
            el(
              'p',
              { class: 'detail' },
              'Browsers give positions to pages of https: alone, or of the machine itself (localhost), and a key could be read on its way. ' +
                'Open it by https:. The server speaks it with --tls-cert and --tls-key, or behind a proxy.',
            ),
          ),
        ),
      ),
    )
  }
}

/** page puts sections below the head. */
function page(theme: Theme, ...sections: HTMLElement[]): void {
  document.body.replaceChildren(
    el('header', {}, el('h1', {}, 'Pingline'), el('div', { class: 'tools' }, theme.button)),
    el('main', {}, ...sections),
  )
}

/** state says how it stands: the tone, a title, and a sentence. */
function state({ on, lost, watch, status }: Shown): [Tone, string, string] {
  const { waiting } = status
  if (lost) return ['alarm', 'The browser keeps no more positions', sentence(lost)]
  if (status.state === 'elsewhere')
    return ['off', 'Another tab sends', 'One tab of this page is enough. When that one is closed, this one goes on.']
  if (status.state === 'key') return ['alarm', 'The server wants another key', sentence(status.why)]
  if (status.state === 'refused') return ['alarm', 'The server takes no positions here', sentence(status.why)]
  if (status.state === 'waiting') {
    const away = !navigator.onLine
    return [
      'warn',
      away ? 'No network' : 'The server is away or busy',
      away ? 'What is found now is sent when there is one.' : sentence(status.why),
    ]
  }
  if (!on)
    return waiting > 0
      ? ['busy', 'Sends what waited', '']
      : ['off', 'Not sending', 'No position is taken until you start.']
  if (watch.trouble === 'denied') {
    return [
      'alarm',
      'The browser gives no position',
      'It was told not to. Allow the location for this page, in the settings of the browser and of the phone, and start again.',
    ]
  }
  if (watch.trouble === 'unavailable')
    return ['warn', 'No position at the moment', 'The phone does not find where it is. The page goes on asking.']
  if (!watch.last) return ['busy', 'Waits for a position', 'The first may take a minute, outdoors less.']
  return [
    'good',
    'Sending',
    watch.awake ? 'The screen stays on.' : 'Keep the screen on: the browser does not do so by itself.',
  ]
}

/** progress says how many positions wait, and until when. */
function progress({ waiting, again }: Status): string {
  const wait = waiting === 0 ? '' : waiting === 1 ? 'A position waits here.' : `${waiting} positions wait here.`
  if (again === undefined) return waiting > 1 ? wait : ''
  const seconds = Math.ceil((again - Date.now()) / 1000)
  return `${wait} ${seconds > 0 ? `Again in ${seconds} s.` : 'Tries again.'}`.trim()
}

function sentence(text = ''): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1)
  return begun === '' || /[.!?]$/.test(begun) ? begun : `${begun}.`
}

function clock(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' })
}
