import { cellToLatLng, getResolution } from 'h3-js'
import { type Activity, aborted, get, type HistoryAnswer, said } from './api'
import { Chart } from './chart'
import { el, setText } from './dom'
import type { Host } from './ridercard'

/** CellCard shows the numbers of a cell, and the hour before the time that is shown. */
export class CellCard {
  readonly element: HTMLElement
  history: HistoryAnswer | undefined
  private readonly ending = new AbortController()
  private readonly facts = el('dl', { class: 'facts' })
  private readonly note = el('p', { class: 'note', role: 'status' }, 'Asking …')
  private readonly pings = new Chart('Pings a minute')
  private readonly riders = new Chart('Riders')
  private readonly speed = new Chart('Mean speed')
  private timer = 0

  constructor(
    private readonly host: Host,
    readonly cell: string,
    private readonly now: () => Activity | undefined,
  ) {
    this.element = el(
      'section',
      { class: 'card cell', 'aria-labelledby': 'card-title' },
      el(
        'header',
        {},
        el('h2', { id: 'card-title' }, 'Cell ', el('small', {}, cell)),
        el('button', { class: 'close', 'aria-label': 'Close the cell', click: () => host.close() }, '×'),
      ),
      this.facts,
      el('h3', {}, 'The hour before: pings a minute'),
      this.note,
      this.pings.element,
      el('h3', {}, 'Riders'),
      el(
        'p',
        { class: 'key' },
        el('span', {}, el('i', { class: 'stroke one' }), 'all'),
        el('span', {}, el('i', { class: 'stroke two' }), 'waiting'),
      ),
      this.riders.element,
      el('h3', {}, 'Mean speed'),
      this.speed.element,
    )
    host.overlay.choose(cell)
    this.show()
    void this.poll()
  }

  /** show writes the numbers of the window that is on the map. */
  show(): void {
    const { units } = this.host
    const a = this.now()
    const facts: [string, string][] = a
      ? [
          ['Window', `${units.moment(a.from)}, ${a.window_s} s`],
          ['Pings', `${units.count(a.pings)} (${units.rate((a.pings * 60) / a.window_s)} a minute)`],
          ['Riders', `${units.count(a.riders)}: ${units.count(a.moving)} moving, ${units.count(a.waiting)} waiting`],
          ['Mean speed', units.speed(a.speed_mean)],
          ['Fastest', units.speed(a.speed_max)],
        ]
      : [['Now', 'No activity in this cell']]
    const text = facts.flat().join('\n')
    if (text === this.facts.dataset.text) return
    this.facts.dataset.text = text
    this.facts.replaceChildren(...facts.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))))
  }

  again(): void {
    clearTimeout(this.timer)
    void this.poll()
  }

  move(): void {}

  restyle(): void {
    for (const chart of [this.pings, this.riders, this.speed]) chart.restyle()
  }

  remove(): void {
    this.ending.abort()
    clearTimeout(this.timer)
    this.host.overlay.choose(undefined)
    this.element.remove()
  }

  private async poll(): Promise<void> {
    const [lat, lon] = cellToLatLng(this.cell)
    // Every cell that reaches into the box counts as a whole: a box in its middle is this cell.
    const bbox = [lon - 1e-6, lat - 1e-6, lon + 1e-6, lat + 1e-6].map((n) => n.toFixed(7)).join(',')
    const to = this.host.at()
    if (!document.hidden) {
      try {
        const answer = await get<HistoryAnswer>(
          'v1/history',
          { bbox, res: getResolution(this.cell), step: '1m', to, from: to === undefined ? undefined : to - 3_600_000 },
          this.ending.signal,
        )
        this.history = answer
        this.draw(answer)
        setText(
          this.note,
          answer.partial
            ? 'A part of the databases did not answer.'
            : answer.steps.length === 0
              ? 'Nothing is stored for this hour.'
              : '',
        )
      } catch (error) {
        if (aborted(error)) return
        setText(this.note, `Not up to date: ${said(error)}`)
      }
    }
    this.timer = window.setTimeout(() => void this.poll(), 20_000)
  }

  private draw({ steps: all, step_s }: HistoryAnswer): void {
    const { units } = this.host
    // A window is stored some seconds after its end: the last step is not complete before.
    const end = (this.host.at() ?? Date.now()) - 30_000
    const steps = all.filter((s) => s.from + step_s * 1000 <= end)
    const times = steps.map((s) => s.from / 1000)
    this.pings.set(times, [
      {
        label: 'Pings',
        colour: '--line-1',
        values: steps.map((s) => (s.pings * 60) / step_s),
        write: (n) => units.compact(n),
      },
    ])
    this.riders.set(times, [
      { label: 'Riders', colour: '--line-1', values: steps.map((s) => s.riders), write: (n) => units.compact(n) },
      { label: 'Waiting', colour: '--line-2', values: steps.map((s) => s.waiting), write: (n) => units.compact(n) },
    ])
    this.speed.set(times, [
      {
        label: 'Speed',
        colour: '--line-1',
        values: steps.map((s) => (s.speed_mean === null || s.pings === 0 ? null : units.speedOf(s.speed_mean))),
        write: (n) => `${units.rate(n)} ${units.speedUnit}`,
      },
    ])
  }
}
