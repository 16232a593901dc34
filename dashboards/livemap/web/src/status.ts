import { type Figure, figures, get, Refusal, type Settings, type Status } from './api'
import { ChangeNote } from './change'
import { Spark } from './chart'
import { el, setText } from './dom'
import type { Units } from './units'

/** Tile is a figure with its last ten minutes. */
interface Tile {
  label: string
  help: string
  of: Figure[]
  colours: string[]
  write(values: (number | null)[], units: Units): string
}

const unknown = '–'
const one = (write: (n: number, units: Units) => string) => (values: (number | null)[], units: Units) => {
  const [value] = values
  return value === null || value === undefined ? unknown : write(value, units)
}

const tiles: Tile[] = [
  {
    label: 'Coming in',
    help: 'Pings that clients send, a second.',
    of: ['received_per_s'],
    colours: ['--line-1'],
    write: one((n, units) => `${units.rate(n)} /s`),
  },
  {
    label: 'Stored',
    help: 'Pings written to InfluxDB, a second.',
    of: ['stored_per_s'],
    colours: ['--line-1'],
    write: one((n, units) => `${units.rate(n)} /s`),
  },
  {
    label: 'Kept',
    help: 'Share of the valid pings that say something new and are stored.',
    of: ['kept_ratio'],
    colours: ['--line-1'],
    write: one((n, units) => units.percent(n)),
  },
  {
    label: 'Shed',
    help: 'Pings refused on purpose because of overload or a rate, a second.',
    of: ['shed_per_s'],
    colours: ['--line-3'],
    write: one((n, units) => `${units.rate(n)} /s`),
  },
  {
    label: 'Freshness: p50 · p99',
    help: 'Age of pings when they were stored: half of them at most the first time, 99 % of them at most the second.',
    of: ['freshness_p50_s', 'freshness_p99_s'],
    colours: ['--line-1', '--line-2'],
    write: (values, units) =>
      values.every((v) => v === null)
        ? unknown
        : values.map((v) => (v === null ? unknown : units.seconds(v))).join(' · '),
  },
  {
    label: 'Waiting to be stored',
    help: 'Pings in the log that InfluxDB does not have yet, and the age of the oldest.',
    of: ['queue_pings', 'queue_age_s'],
    colours: ['--line-1'],
    write: ([pings, age], units) =>
      pings === null || pings === undefined
        ? unknown
        : `${units.compact(pings)}${age !== null && age !== undefined && pings > 0 ? ` · ${units.age(age)}` : ''}`,
  },
]

const words: Record<string, string> = {
  closed: 'takes writes',
  'half-open': 'is being tried',
  open: 'takes no writes',
}

/** StatusPanel shows what GET /v1/status tells, and asks for it every 5 s. */
export class StatusPanel {
  readonly element = el('section', { class: 'status', 'aria-labelledby': 'status-title' })
  last: Status | undefined
  private readonly headline = el('p', { class: 'headline', role: 'status' }, 'Asking how things are …')
  private readonly values: HTMLElement[] = []
  private readonly sparks: Spark[] = []
  private readonly rungs: HTMLElement[] = []
  private readonly breakers = el('ul', { class: 'breakers', 'aria-label': 'Databases' })
  private readonly changes = el('div', { class: 'changes', hidden: true })
  private readonly notes: ChangeNote[] = []
  private readonly levels = new Spark(['--line-2'], 4)
  private readonly open = new Spark(['--line-3'], 1)
  private readonly why = el('p', { class: 'why' })
  private point: number | null = null
  private next: () => void = () => {}
  onChange: () => void = () => {}

  constructor(
    settings: Settings,
    private readonly units: Units,
  ) {
    const grid = el('dl', { class: 'tiles' })
    for (const [n, tile] of tiles.entries()) {
      const value = el('dd', {}, unknown)
      const spark = new Spark(tile.colours)
      spark.onPoint = (i) => {
        this.point = i
        this.write(n)
      }
      this.values.push(value)
      this.sparks.push(spark)
      grid.append(
        el(
          'div',
          { class: 'tile', title: tile.help },
          el('dt', {}, tile.label),
          value,
          el('dd', { class: 'of' }, spark.element),
        ),
      )
    }
    const ladder = el('ol', { class: 'ladder', reversed: true, 'aria-label': 'What is given up' })
    for (const [level, { name, giving_up }] of [...settings.levels.entries()].reverse()) {
      const sentences = el('ul', {}, ...giving_up.map((s) => el('li', {}, s)))
      const rung = el(
        'li',
        { class: 'rung', value: level },
        el('span', { class: 'step' }, String(level)),
        el('span', { class: 'name' }, level === 0 ? 'Everything is kept' : sentence(name)),
        ...(giving_up.length > 0 ? [sentences] : []),
      )
      this.rungs[level] = rung
      ladder.append(rung)
    }
    this.element.append(
      el('h2', { id: 'status-title' }, 'How the server is'),
      this.headline,
      grid,
      el('h3', {}, 'Given up under load'),
      ladder,
      el('p', { class: 'caption' }, 'Level, last ten minutes'),
      this.levels.element,
      el('h3', {}, 'Databases'),
      this.breakers,
      this.changes,
      el('p', { class: 'caption' }, 'Databases that took no writes, last ten minutes'),
      this.open.element,
    )
    void this.poll()
  }

  restyle(): void {
    for (const spark of [...this.sparks, this.levels, this.open]) spark.restyle()
    if (this.last) this.show(this.last)
  }

  private async poll(): Promise<void> {
    for (;;) {
      let wait = 5000
      if (!document.hidden) {
        try {
          this.show(await get<Status>('v1/status'))
        } catch (error) {
          if (error instanceof Refusal && error.status === 404) wait = 60_000
          this.miss(error)
        }
      }
      await new Promise<void>((done) => {
        this.next = done
        setTimeout(done, wait)
      })
    }
  }

  /** hurry asks at once: there is reason to think that the figures are old. */
  hurry(): void {
    this.next()
  }

  private miss(error: unknown): void {
    this.last = undefined
    this.element.classList.add('old')
    setText(
      this.headline,
      error instanceof Refusal && error.status === 404
        ? 'This server does not tell how it is.'
        : 'The server does not say how it is. The figures are old.',
    )
    this.onChange()
  }

  private show(status: Status): void {
    this.last = status
    this.element.classList.remove('old')
    const times = Array.from({ length: longest(status) }, (_, i) => (status.from + i * status.step_s * 1000) / 1000)
    for (const [n, tile] of tiles.entries()) {
      this.write(n)
      const drawn = tile.of.slice(0, tile.colours.length)
      this.sparks[n]?.set(
        times,
        drawn.map((f) => padded(status.history[f] ?? [], times.length)),
      )
    }
    this.levels.set(times, [padded(status.history.level ?? [], times.length)])
    this.open.set(times, [padded(status.history.breakers_open ?? [], times.length)])
    for (const [level, rung] of this.rungs.entries()) {
      rung.classList.toggle('on', level === status.level)
      rung.classList.toggle('below', level > 0 && level < status.level)
      if (level === status.level) rung.setAttribute('aria-current', 'step')
      else rung.removeAttribute('aria-current')
    }
    setText(this.why, status.level_reason ? sentence(`${status.level_reason}.`) : '')
    const rung = this.rungs[status.level]
    if (rung && this.why.parentElement !== rung) rung.insertBefore(this.why, rung.children[2] ?? null)
    this.showBreakers(status)
    this.showChanges(status)
    const open = status.breakers.filter((b) => b.state === 'open').map((b) => b.shard)
    setText(
      this.headline,
      !status.ready
        ? `No pings are taken: ${status.reason}`
        : open.length > 0
          ? `Pings are taken and kept on disk, but ${open.length > 1 ? 'the databases' : 'the database'} ${open.join(', ')} ${open.length > 1 ? 'take' : 'takes'} no writes.`
          : status.level > 0
            ? `Pings are taken; something is given up: ${status.level_name}.`
            : 'All is well: every ping is taken and stored.',
    )
    this.element.classList.toggle('bad', !status.ready)
    this.element.classList.toggle('warn', status.ready && (open.length > 0 || status.level > 0))
    this.onChange()
  }

  private showChanges({ reshard = [] }: Status): void {
    this.changes.hidden = reshard.length === 0
    while (this.notes.length < reshard.length) this.notes.push(new ChangeNote(this.units))
    this.notes.length = reshard.length
    for (const [n, note] of this.notes.entries()) {
      const change = reshard[n]
      if (change) note.show(change)
      if (note.element !== this.changes.children[n]) this.changes.append(note.element)
    }
    while (this.changes.children.length > reshard.length) this.changes.lastElementChild?.remove()
  }

  private showBreakers(status: Status): void {
    const texts = status.breakers.map((b) => `${b.shard} ${words[b.state] ?? b.state}`)
    if ([...this.breakers.children].map((c) => c.textContent).join('\n') === texts.join('\n')) return
    this.breakers.replaceChildren(
      ...status.breakers.map((b) =>
        el(
          'li',
          { class: `breaker ${b.state}`, 'data-state': b.state },
          el('strong', {}, b.shard),
          ` ${words[b.state] ?? b.state}`,
        ),
      ),
    )
  }

  /** write puts the value of a tile where it stands: of now, or of the point under the cursor. */
  private write(n: number): void {
    const tile = tiles[n]
    const value = this.values[n]
    const status = this.last
    if (!tile || !value || !status) return
    const values = tile.of.map((f) => (this.point === null ? status.now[f] : status.history[f]?.[this.point]) ?? null)
    setText(value, tile.write(values, this.units))
    value.classList.toggle('then', this.point !== null)
  }
}

const longest = (status: Status): number => Math.max(0, ...figures.map((f) => status.history[f]?.length ?? 0))
const padded = (list: (number | null)[], n: number): (number | null)[] => [
  ...Array<null>(Math.max(0, n - list.length)).fill(null),
  ...list,
]
const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
