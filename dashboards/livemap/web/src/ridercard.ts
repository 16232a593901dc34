import { LngLatBounds, type Map as MapLibre, Marker } from 'maplibre-gl'
import { aborted, get, type Ping, Refusal, type RiderAnswer, type Settings, said } from './api'
import { Chart } from './chart'
import { el, save, setText } from './dom'
import type { Overlay } from './overlay'
import { geojson, gpx, Track } from './track'
import { heading, type Units } from './units'

const hour = 3_600_000
const silence = 120_000 // ms without a ping, beyond which a track is drawn with a gap

/** Host is what a card needs of the page. */
export interface Host {
  readonly map: MapLibre
  readonly overlay: Overlay
  readonly settings: Settings
  readonly units: Units
  /** now is the time that is shown, ms; undefined: live. */
  at(): number | undefined
  stale(): number // seconds
  covered(): { top: number; bottom: number; left: number; right: number } // px
  close(): void
}

/** RiderCard shows one rider: the newest ping, a track, and what the track says over time. */
export class RiderCard {
  readonly element: HTMLElement
  track: Track
  latest: Ping | undefined
  problem = ''
  private readonly ending = new AbortController()
  private readonly facts = el('dl', { class: 'facts' })
  private readonly note = el('p', { class: 'note', role: 'status' }, 'Asking …')
  private readonly summary = el('p', { class: 'summary' })
  private readonly speed = new Chart('Speed')
  private readonly altitude = new Chart('Altitude', false)
  private readonly altitudeBox = el('div', {}, el('h3', {}, 'Altitude'), this.altitude.element)
  private readonly events = el('ul', { class: 'events' })
  private readonly eventBox = el('div', { hidden: true }, el('h3', {}, 'Events'), this.events)
  private readonly band = keyLine('band', '')
  private pins: Marker[] = []
  private readonly ghost: Marker
  private range: { from: number; to: number } | undefined // chosen; undefined: back from the time that is shown
  private back = hour
  private drawn = ''
  private timer = 0

  constructor(
    private readonly host: Host,
    readonly rider: string,
    readonly device: string | undefined,
    private readonly found: (lat: number, lon: number) => void,
  ) {
    const ranges: [string, number][] = [
      ['Last 15 minutes', hour / 4],
      ['Last hour', hour],
      ['Last 6 hours', 6 * hour],
      ['Last 24 hours', 24 * hour],
    ]
    const choose = el('select', {
      'aria-label': 'Time of the track',
      change: () => {
        chosen.hidden = choose.value !== 'chosen'
        if (choose.value === 'chosen') return
        this.back = Number(choose.value)
        this.range = undefined
        this.again()
      },
    })
    for (const [label, ms] of ranges) choose.append(el('option', { value: ms, selected: ms === hour }, label))
    choose.append(el('option', { value: 'chosen' }, 'Chosen time …'))
    const from = el('input', { type: 'datetime-local', 'aria-label': 'From' })
    const to = el('input', { type: 'datetime-local', 'aria-label': 'To' })
    const take = () => {
      const [a, b] = [Date.parse(from.value), Date.parse(to.value)]
      if (!(a < b)) return
      this.range = { from: a, to: b }
      this.again()
    }
    from.addEventListener('change', take)
    to.addEventListener('change', take)
    const chosen = el('div', { class: 'chosen', hidden: true }, from, to)
    const name = `${rider.replace(/[^\w.-]+/g, '_')}-track`
    this.ghost = new Marker({ element: el('div', { class: 'ghost', 'aria-hidden': 'true' }) })
    this.element = el(
      'section',
      { class: 'card rider', 'aria-labelledby': 'card-title' },
      el(
        'header',
        {},
        el('h2', { id: 'card-title' }, rider, ...(device ? [el('small', {}, ` ${device}`)] : [])),
        el('button', { class: 'close', 'aria-label': 'Close the rider', click: () => host.close() }, '×'),
      ),
      this.note,
      this.facts,
      el('h3', {}, 'Track'),
      el('div', { class: 'row' }, choose),
      chosen,
      this.summary,
      el(
        'p',
        { class: 'row' },
        el('button', { click: () => this.fit() }, 'Show whole'),
        el('button', { click: () => save(`${name}.gpx`, 'application/gpx+xml', gpx(rider, this.track.points)) }, 'GPX'),
        el(
          'button',
          { click: () => save(`${name}.geojson`, 'application/geo+json', geojson(rider, this.track.points)) },
          'GeoJSON',
        ),
      ),
      el(
        'p',
        { class: 'key' },
        keyLine('kept', 'stored'),
        keyLine('waiting', 'on its way'),
        keyLine('late', 'came late'),
        this.band,
      ),
      el('h3', {}, 'Speed'),
      this.speed.element,
      this.altitudeBox,
      this.eventBox,
    )
    this.track = this.start()
    void this.poll()
  }

  /** again asks anew: the time that is shown, or the range of the track, is another. */
  again(): void {
    this.track = this.start()
    clearTimeout(this.timer)
    void this.poll()
  }

  /** move shows where the rider was at the time that is shown. */
  move(): void {
    const at = this.host.at()
    const place = at === undefined ? undefined : this.track.at(at)
    if (!place) {
      this.ghost.remove()
      return
    }
    this.ghost.setLngLat([place.lon, place.lat]).addTo(this.host.map)
  }

  restyle(): void {
    this.speed.restyle()
    this.altitude.restyle()
  }

  remove(): void {
    this.ending.abort()
    clearTimeout(this.timer)
    this.ghost.remove()
    for (const pin of this.pins) pin.remove()
    this.host.overlay.track([], silence)
    this.element.remove()
  }

  private start(): Track {
    const at = this.host.at()
    const range = this.range
    this.drawn = ''
    if (range) return new Track(this.rider, this.device, range.from, range.to)
    return new Track(this.rider, this.device, (at ?? Date.now()) - this.back, at)
  }

  private async poll(): Promise<void> {
    const { signal } = this.ending
    const track = this.track
    let wait = 5000
    if (!document.hidden) {
      try {
        const first = this.latest === undefined
        const answer = await get<RiderAnswer>(`v1/riders/${encodeURIComponent(this.rider)}`, {}, signal)
        const pings = answer.pings.filter((p) => this.device === undefined || (p.device_id ?? '') === this.device)
        this.latest = pings[0]
        if (first && this.latest) this.found(this.latest.lat, this.latest.lon)
        await track.update(signal)
        if (track !== this.track) return // another was begun meanwhile
        this.problem = track.memoryOnly
          ? 'No database answers: only points from memory are shown.'
          : track.partial
            ? 'A part of the databases did not answer: points are missing.'
            : track.more
              ? 'There are more points than are shown: choose a shorter time.'
              : ''
        this.show()
      } catch (error) {
        if (aborted(error) || track !== this.track) return
        this.problem =
          error instanceof Refusal && error.status === 404
            ? 'Nothing is known of a rider of this name.'
            : `Not up to date: ${said(error)}`
        if (error instanceof Refusal && error.retryAfter > 0) wait = Math.max(wait, error.retryAfter * 1000)
      }
      setText(this.note, this.problem)
      this.element.classList.toggle('old', this.problem.startsWith('Not up to date'))
    }
    this.timer = window.setTimeout(() => void this.poll(), wait)
  }

  private show(): void {
    const { units } = this.host
    const p = this.latest
    if (p) {
      const age = (Date.now() - p.ts) / 1000
      const facts: [string, string][] = [
        ['Newest ping', `${units.moment(p.ts)} (${units.age(age)} ago)`],
        ['Speed', units.speed(p.speed)],
      ]
      if (p.heading !== undefined) facts.push(['Heading', heading(p.heading)])
      if (p.altitude !== undefined) facts.push(['Altitude', units.height(p.altitude)])
      if (p.accuracy !== undefined) facts.push(['Accuracy', `± ${units.distance(p.accuracy)}`])
      if (p.battery !== undefined) facts.push(['Battery', units.percent(p.battery)])
      if (p.trip_id !== undefined) facts.push(['Trip', p.trip_id])
      facts.push(['Position', `${p.lat.toFixed(5)}, ${p.lon.toFixed(5)}`])
      const rows = facts.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value)))
      if (age > this.host.stale())
        rows.unshift(
          el(
            'div',
            { class: 'silent' },
            el('dt', {}, 'Silent'),
            el('dd', {}, `for ${units.age(age)}: drawn where last heard of`),
          ),
        )
      this.facts.replaceChildren(...rows)
    }
    const points = this.track.points
    const last = points.at(-1)
    const key = `${points.length} ${last?.ts ?? 0} ${last?.waiting ?? false} ${units.system}`
    if (key === this.drawn) return
    this.drawn = key
    setText(this.band.lastChild as Text, `± ${units.distance(this.host.settings.max_error)}`)
    this.host.overlay.track(points, silence)
    this.move()
    const skipped = points.reduce((sum, q) => sum + (q.skipped ?? 0), 0)
    const kept = points.filter((q) => !q.waiting).length
    setText(
      this.summary,
      points.length === 0
        ? 'No points in this time.'
        : `${units.count(kept)} points stored for ${units.count(kept + skipped)} pings, ${units.distance(this.track.metres())}. Every ping left out lies within the band, or its own accuracy (at most ${units.distance(this.host.settings.accuracy_cap)}).`,
    )
    const line = points.filter((q) => !q.late)
    const times = line.map((q) => q.ts / 1000)
    this.speed.set(times, [
      {
        label: 'Speed',
        colour: '--line-1',
        values: line.map((q) => (q.speed === undefined ? null : units.speedOf(q.speed))),
        write: (n) => `${units.rate(n)} ${units.speedUnit}`,
      },
    ])
    const high = line.some((q) => q.altitude !== undefined)
    this.altitudeBox.hidden = !high
    if (high) {
      this.altitude.set(times, [
        {
          label: 'Altitude',
          colour: '--line-2',
          values: line.map((q) => (q.altitude === undefined ? null : units.heightOf(q.altitude))),
          write: (n) => `${Math.round(n)} ${units.heightUnit}`,
        },
      ])
    }
    for (const chart of [this.speed, this.altitude]) {
      chart.onPoint = (i) => {
        const q = i === null ? undefined : line[i]
        if (q) this.ghost.setLngLat([q.lon, q.lat]).addTo(this.host.map)
        else this.move()
      }
    }
    this.showEvents(points.filter((q) => q.event !== undefined))
  }

  private showEvents(list: Ping[]): void {
    const { map, units } = this.host
    for (const pin of this.pins) pin.remove()
    this.pins = list.map((q) => {
      const sos = q.event === 'sos'
      const text = `${q.event}, ${units.moment(q.ts)}`
      const element = el(
        'div',
        { class: sos ? 'pin sos' : 'pin', title: text, role: 'img', 'aria-label': text },
        sos ? 'SOS' : '',
      )
      return new Marker({ element, anchor: 'bottom' }).setLngLat([q.lon, q.lat]).addTo(map)
    })
    this.eventBox.hidden = list.length === 0
    this.events.replaceChildren(
      ...list.toReversed().map((q) =>
        el(
          'li',
          {},
          el(
            'button',
            {
              class: q.event === 'sos' ? 'event sos' : 'event',
              click: () => map.easeTo({ center: [q.lon, q.lat], zoom: Math.max(15, map.getZoom()) }),
            },
            `${q.event ?? ''}, ${units.moment(q.ts)}`,
          ),
        ),
      ),
    )
  }

  private fit(): void {
    const bounds = new LngLatBounds()
    for (const p of this.track.points) bounds.extend([p.lon, p.lat])
    if (!bounds.isEmpty()) this.host.map.fitBounds(bounds, { padding: this.host.covered(), maxZoom: 17 })
  }
}

const keyLine = (kind: string, text: string): HTMLElement => el('span', {}, el('i', { class: `mark ${kind}` }), text)
