import { el, icon, setText } from './dom'
import type { Units } from './units'

const speeds = [1, 5, 10, 30, 60]
const hour = 3_600_000
const step = 10_000 // ms: the shortest window of the roll-up
const newest = 20_000 // ms: windows are not stored earlier

/** TimeBar says which time is shown: now, or an earlier time that can be dragged and played. */
export class TimeBar {
  readonly element = el('section', { class: 'timebar', 'aria-label': 'Time' })
  /** at is the time that is shown, ms; undefined: live. */
  at: number | undefined
  playing = false
  private since: number | undefined
  private back = 6 * hour
  speed = 10 // of playing, times that of life
  private skew = 0 // ms that the server's clock is ahead of ours
  private timer = 0
  private played = 0
  private readonly slider: HTMLInputElement
  private readonly play: HTMLButtonElement
  private readonly now: HTMLButtonElement
  private readonly label = el('output', { class: 'shown' })
  private readonly start = el('span', { class: 'start', 'aria-hidden': 'true' })

  constructor(
    private readonly units: Units,
    private readonly changed: () => void,
  ) {
    this.slider = el('input', {
      type: 'range',
      min: -this.back / 1000,
      max: 0,
      step: step / 1000,
      value: 0,
      'aria-label': 'Time that is shown',
      input: () => {
        const ago = -Number(this.slider.value) * 1000
        this.pause()
        this.go(ago < newest ? undefined : Math.round((this.clock() - ago) / step) * step)
      },
    })
    this.play = el(
      'button',
      { class: 'round', 'aria-label': 'Play', title: 'Play (space)', click: () => this.toggle() },
      icon('M6 4l10 6-10 6z'),
    )
    this.now = el('button', { class: 'now', title: 'Back to live (N)', click: () => this.live() }, 'Now')
    const pace = el('select', {
      'aria-label': 'Speed of playing',
      change: () => {
        this.speed = Number(pace.value)
      },
    })
    for (const n of speeds) pace.append(el('option', { value: n, selected: n === this.speed }, `${n} ×`))
    const span = el('select', {
      'aria-label': 'How far back the slider reaches',
      change: () => {
        this.back = Number(span.value) * hour
        this.slider.min = String(-this.back / 1000)
        this.draw()
      },
    })
    for (const n of [1, 6, 24, 168])
      span.append(el('option', { value: n, selected: n === 6 }, n === 168 ? '7 days' : `${n} h`))
    this.element.append(this.play, pace, this.start, this.slider, this.label, this.now, span)
    setInterval(() => this.draw(), 1000)
    this.draw()
  }

  /** clock is the server's time, ms. */
  clock(): number {
    return Date.now() + this.skew
  }

  /** tell takes the server's time from a change of the stream. */
  tell(at: number): void {
    this.skew = at - Date.now()
  }

  /** stand says since when nothing new is on the map, ms; undefined: it is live. */
  stand(since: number | undefined): void {
    if (since === this.since) return
    this.since = since
    this.draw()
  }

  live(): void {
    this.pause()
    this.go(undefined)
  }

  /** go shows an earlier time; undefined is live. */
  go(at: number | undefined): void {
    if (at !== undefined && this.clock() - at > this.back) {
      // A link may lead further back than the slider reaches.
      this.back = Math.ceil((this.clock() - at) / hour) * hour
      this.slider.min = String(-this.back / 1000)
    }
    const other = at !== this.at
    this.at = at
    this.draw()
    if (other) this.changed()
  }

  toggle(): void {
    if (this.playing) {
      this.pause()
      return
    }
    if (this.at === undefined) this.go(Math.round((this.clock() - Math.min(this.back, hour / 2)) / step) * step)
    this.playing = true
    this.played = performance.now()
    this.timer = window.setInterval(() => {
      const now = performance.now()
      const next = (this.at ?? this.clock()) + (now - this.played) * this.speed
      this.played = now
      if (this.clock() - next < newest) this.live()
      else this.go(next)
    }, 250)
    this.draw()
  }

  pause(): void {
    clearInterval(this.timer)
    this.playing = false
    this.draw()
  }

  restyle(): void {
    this.draw()
  }

  private draw(): void {
    const ago = this.at === undefined ? 0 : this.clock() - this.at
    const shown = this.at ?? this.since
    const text = shown === undefined ? 'Live' : this.units.moment(shown)
    this.slider.value = String(-ago / 1000)
    this.slider.setAttribute(
      'aria-valuetext',
      this.at === undefined ? text : `${text}, ${this.units.age(ago / 1000)} ago`,
    )
    setText(this.label, text)
    setText(this.start, this.units.hourMinute(this.clock() - this.back))
    this.element.classList.toggle('past', this.at !== undefined)
    this.now.setAttribute('aria-pressed', String(this.at === undefined))
    const name = this.playing ? 'Pause' : 'Play'
    if (this.play.getAttribute('aria-label') !== name) {
      this.play.setAttribute('aria-label', name)
      this.play.replaceChildren(icon(this.playing ? 'M6 4h3v12H6zM11 4h3v12h-3z' : 'M6 4l10 6-10 6z'))
    }
  }
}
