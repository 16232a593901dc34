import { getResolution, latLngToCell } from 'h3-js'
import {
  type LngLatBounds,
  type LngLatBoundsLike,
  Map as MapLibre,
  NavigationControl,
  ScaleControl,
  setWorkerUrl,
} from 'maplibre-gl'
import { type Activity, type CellsAnswer, get, Refusal, type RidersAnswer, type Settings, said } from './api'
import { CellCard } from './cellcard'
import { Cells, finest } from './cells'
import { after, el, icon, setText } from './dom'
import { Dots } from './dots'
import { Fleet } from './fleet'
import { Ground, labels, style } from './ground'
import { Legend } from './legend'
import * as address from './link'
import { leave } from './login'
import { type Box, boxOf, boxText, contains, pixelMetres } from './mercator'
import { Overlay } from './overlay'
import { type Host, RiderCard } from './ridercard'
import { metrics, Scale } from './scale'
import type { StatusPanel } from './status'
import { type Change, type Link, Stream } from './stream'
import { expose } from './testing'
import type { Theme } from './theme'
import { TimeBar } from './timebar'
import type { Units } from './units'

/** dotsFrom is the zoom from which on riders are dots, if the server tells of them. */
const dotsFrom = 9.5

/** mostRiders is the most that the server tells of at once. */
const mostRiders = 25_000

const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches

/** App is the page: it holds the parts together and decides what the map shows. */
export class App implements Host {
  readonly map: MapLibre
  readonly overlay: Overlay
  readonly fleet = new Fleet()
  readonly cells = new Cells()
  readonly dots: Dots
  readonly time: TimeBar
  readonly legend: Legend
  link: Link = { state: 'off', reason: '' }
  scale = new Scale(metrics.pings)
  card: RiderCard | CellCard | undefined
  /** pastAt is the time whose cells are on the map, ms; undefined: they are live. */
  pastAt: number | undefined
  pastProblem = ''
  /** pastRiders tells of the riders of that time; they are on the map if it is empty. */
  pastRiders = ''

  private readonly ground: Ground
  private readonly stream: Stream
  private readonly panel = el('aside', { class: 'panel', id: 'panel', 'aria-label': 'Details', tabindex: 0 })
  private readonly cardPlace = el('div', { class: 'card-place' })
  private readonly pill = el('p', { class: 'pill', role: 'status' })
  private readonly banner = el('p', { class: 'banner', role: 'status', hidden: true })
  private readonly search = el('input', {
    type: 'search',
    name: 'rider',
    placeholder: 'Find a rider',
    'aria-label': 'Find a rider by ID',
    autocomplete: 'off',
    spellcheck: 'false',
    list: 'riders-in-view',
  })
  private readonly scaleBar = new ScaleControl()
  private readonly suggestions = el('datalist', { id: 'riders-in-view' })
  private readonly hello = el('p', { class: 'hello', role: 'status', hidden: true })
  private viewed: { box: Box; res: number | undefined; riders: boolean } | undefined
  private asking = new AbortController()
  private moved = false
  private staleSeconds = 120
  private coarser = 0 // how many resolutions coarser than wanted, since there were too many cells
  private readonly view = after(350, () => this.look())
  private readonly remember = after(400, () => this.writeAddress())
  private hash = location.hash // as it was read or written last

  constructor(
    readonly settings: Settings,
    private readonly theme: Theme,
    readonly units: Units,
    readonly status: StatusPanel,
    private readonly keyName: string,
  ) {
    setWorkerUrl(new URL(WORKER_URL, document.baseURI).href)
    const place = address.read(location.hash)
    const holder = el('main', { class: 'map' })
    document.body.replaceChildren(holder)
    this.map = new MapLibre({
      container: holder,
      style: style(this.theme.dark, settings),
      center: place.map ? [place.map.lon, place.map.lat] : [10, 25],
      zoom: place.map?.zoom ?? 1.3,
      maxZoom: 19,
      // North is up and the ground is flat: nothing has to be put right again.
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      attributionControl: { compact: true },
      fadeDuration: 0,
      locale: {
        'Map.Title': 'Map of the fleet. Arrows move it, plus and minus zoom, Enter chooses the cell in the middle.',
      },
    })
    this.moved = place.map !== undefined
    this.map.touchZoomRotate.disableRotation()
    this.map.keyboard.disableRotation()
    this.ground = new Ground(this.map)
    this.overlay = new Overlay(this.map, settings.max_error)
    this.dots = new Dots(this.map, this.fleet)
    this.time = new TimeBar(this.units, () => this.timeChanged())
    status.onChange = () => this.say()
    this.legend = new Legend(this.units, (metric) => {
      this.scale = new Scale(metrics[metric])
      this.drawCells()
      this.remember()
    })
    this.stream = new Stream(
      (change, all) => this.take(change, all),
      (link) => {
        this.link = link
        if (link.state === 'lost') this.status.hurry()
        if (link.state === 'lost' || link.state === 'paused') this.ground.release()
        this.say()
      },
    )
    this.frame()
    if (place.metric) this.legend.choose(place.metric)
    expose(this)
  }

  /** start puts data on the map and goes where the address says, or where riders are. */
  async start(): Promise<void> {
    const styled = new Promise<void>((done) => this.map.once('style.load', () => done()))
    this.listen()
    const place = address.read(location.hash)
    const found = place.map ? this.goTo(place) : this.findFleet()
    if (place.map && !this.viewed) this.look()
    await styled
    this.restyle()
    void this.ground.load().catch(() => this.say())
    await found
    if (!place.map) this.goTo(place)
    if (!this.viewed) this.look()
  }

  get asked(): { bbox: string; res: number | undefined } | undefined {
    return this.viewed && { bbox: boxText(this.viewed.box), res: this.viewed.res }
  }

  at(): number | undefined {
    return this.time.at
  }

  stale(): number {
    return this.staleSeconds
  }

  close(): void {
    this.card?.remove()
    this.card = undefined
    this.dots.chosen = undefined
    this.dots.changed()
    document.body.classList.remove('has-card')
    this.remember()
  }

  /** chooseRider opens the card of a rider. */
  chooseRider(rider: string, device?: string, go = true): void {
    this.close()
    this.search.value = ''
    const card = new RiderCard(this, rider, device, (lat, lon) => {
      if (go && !this.map.getBounds().contains([lon, lat]))
        this.map.easeTo({ center: [lon, lat], zoom: Math.max(13, this.map.getZoom()) })
    })
    this.open(card)
    this.dots.chosen = this.fleet.find(rider, device)
    this.dots.changed()
  }

  chooseCell(cell: string): void {
    this.close()
    this.open(new CellCard(this, cell, () => this.cells.all.get(cell)))
  }

  private open(card: RiderCard | CellCard): void {
    this.card = card
    this.cardPlace.replaceChildren(card.element)
    document.body.classList.add('has-card')
    this.panel.scrollTop = 0
    this.expand(true)
    card.restyle()
    this.remember()
  }

  /** goTo shows what an address says. */
  private goTo(place: address.Place): void {
    if (place.map) this.map.jumpTo({ center: [place.map.lon, place.map.lat], zoom: place.map.zoom })
    if (place.metric) this.legend.choose(place.metric)
    if (place.t !== this.time.at) {
      this.time.pause()
      this.time.go(place.t)
    }
    if (place.rider !== undefined) {
      const shown =
        this.card instanceof RiderCard && this.card.rider === place.rider && this.card.device === place.device
      if (!shown) this.chooseRider(place.rider, place.device, place.map === undefined)
    } else if (place.cell !== undefined) {
      if (!(this.card instanceof CellCard && this.card.cell === place.cell)) this.chooseCell(place.cell)
    } else if (this.card) this.close()
  }

  private writeAddress(): void {
    if (location.hash !== this.hash) return // somebody has changed it, and we are about to hear of that
    const hash = address.write(this.place())
    if (hash !== location.hash) history.replaceState(null, '', hash)
    this.hash = location.hash
  }

  /** place is what is shown, as an address says it. */
  private place(): address.Place {
    const centre = this.map.getCenter().wrap()
    const place: address.Place = { map: { zoom: this.map.getZoom(), lat: centre.lat, lon: centre.lng } }
    if (this.card instanceof RiderCard) {
      place.rider = this.card.rider
      if (this.card.device !== undefined) place.device = this.card.device
    }
    if (this.card instanceof CellCard) place.cell = this.card.cell
    if (this.time.at !== undefined) place.t = this.time.at
    if (this.scale.metric.name !== 'pings') place.metric = this.scale.metric.name
    return place
  }

  /** findFleet goes to where most riders are. Without riders it tells how to send a ping. */
  private async findFleet(): Promise<void> {
    for (let wait = 0; ; wait = 3000) {
      if (wait > 0) await new Promise((done) => setTimeout(done, wait))
      if (this.moved) break
      try {
        const answer = await get<RidersAnswer>('v1/riders', { bbox: '-180,-90,180,90', limit: 1000 })
        const busiest = densest(answer.riders)
        if (busiest) {
          this.map.fitBounds(busiest, {
            padding: this.covered(),
            maxZoom: 14,
            animate: false,
          })
          break
        }
        this.greet('No riders yet. The first ping to POST /v1/pings appears here.')
      } catch (error) {
        this.greet(`Where the riders are cannot be told: ${said(error)}`)
      }
      if (!this.viewed) this.look()
    }
    this.greet('')
  }

  /** covered is how much of the map lies under other parts of the page, px. */
  covered(): { top: number; bottom: number; left: number; right: number } {
    const narrow = window.innerWidth <= 760
    return narrow ? { top: 110, bottom: 230, left: 20, right: 20 } : { top: 80, bottom: 80, left: 60, right: 380 }
  }

  private greet(text: string): void {
    setText(this.hello, text)
    this.hello.hidden = text === ''
  }

  /** look asks for what the viewport needs, if that is not what is being asked for already. */
  private look(): void {
    const bounds = this.map.getBounds()
    const zoom = this.map.getZoom()
    const box = boxOf(bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth())
    const { resolutions } = this.settings
    const wanted = finest(resolutions, 9, pixelMetres(this.map.getCenter().lat, zoom))
    const sorted = resolutions.toSorted((a, b) => b - a)
    const res =
      wanted === undefined ? undefined : sorted[Math.min(sorted.length - 1, sorted.indexOf(wanted) + this.coarser)]
    // Far out only cells are asked for: they say how many riders there are.
    const riders = zoom >= dotsFrom - 0.5 || res === undefined
    const same = this.viewed && this.viewed.res === res && this.viewed.riders === riders
    const around = grown(bounds)
    if (same && this.viewed && contains(this.viewed.box, box) && contains(grown(bounds, 1.2), this.viewed.box)) return
    this.viewed = { box: around, res, riders }
    if (this.time.at !== undefined) {
      void this.lookBack()
      return
    }
    this.stream.open({ bbox: boxText(around), res, riders })
  }

  private take(change: Change, all: boolean): void {
    if (this.time.at !== undefined) return
    this.time.tell(change.at)
    this.staleSeconds = change.stale_s ?? this.staleSeconds
    this.fleet.take(change, all, performance.now(), !calm())
    this.cells.take(change, all)
    if (this.cells.over && this.coarser < this.settings.resolutions.length - 1) {
      this.coarser++
      this.viewed = undefined
      this.view()
    }
    this.choose()
    this.draw()
    this.ground.release()
  }

  /** choose marks the rider whose card is open, if it is in view. */
  private choose(): void {
    if (!(this.card instanceof RiderCard)) return
    if ((this.dots.chosen?.slot ?? -1) < 0) this.dots.chosen = this.fleet.find(this.card.rider, this.card.device)
  }

  private draw(): void {
    this.drawCells()
    this.hideDots()
    this.dots.changed()
    if (this.card instanceof CellCard) this.card.show()
    this.say()
  }

  /** hideDots draws riders only where they can be told apart, and are known. */
  private hideDots(): void {
    this.dots.past = this.time.at !== undefined
    const unknown = this.dots.past && (this.pastAt === undefined || this.pastRiders !== '')
    this.dots.hidden = unknown || this.map.getZoom() < dotsFrom || this.fleet.over
  }

  private drawCells(): void {
    const values: number[] = []
    for (const a of this.cells.all.values()) {
      const v = this.scale.metric.value(a)
      if (v !== null) values.push(v)
    }
    this.scale.fit(values)
    const now = this.pastAt ?? this.fleet.at
    const live = this.pastAt === undefined
    this.overlay.cells(
      this.cells,
      this.scale,
      this.fresh() ? 1 : 0.4,
      (a: Activity) => live && now - a.from > (a.window_s + 40) * 1000,
    )
    this.legend.draw(this.scale, this.theme.dark, this.cells.all.size)
    this.drawClusters()
  }

  private drawClusters(): void {
    const dots = this.map.getZoom() >= dotsFrom && !this.fleet.over && this.time.at === undefined
    const past = this.time.at !== undefined && this.map.getZoom() >= dotsFrom
    if (dots || past) {
      this.overlay.clusters([], (n) => this.units.compact(n), false)
      return
    }
    const apart = pixelMetres(this.map.getCenter().lat, this.map.getZoom())
    const res = finest([0, 1, 2, 3, 4, 5, 6, 7], 38, apart) ?? 0
    this.overlay.clusters(this.cells.clusters(res), (n) => this.units.compact(n), !this.fresh())
  }

  /** fresh reports whether what is on the map is as of now, or as of the time that is shown. */
  private fresh(): boolean {
    return this.time.at === undefined
      ? this.link.state === 'live'
      : this.pastProblem === '' && this.pastAt !== undefined && this.isShown(this.pastAt, this.time.at)
  }

  /** isShown reports whether the map is of the time that is shown; while it is played it may follow behind. */
  private isShown(pastAt: number, at: number): boolean {
    return pastAt === at || (this.time.playing && Math.abs(at - pastAt) <= 60_000)
  }

  private timeChanged(): void {
    if (this.time.at === undefined) {
      this.asking.abort()
      this.pastAt = undefined
      this.pastProblem = ''
      this.pastRiders = ''
      this.cells.clear()
      this.fleet.clear()
      this.viewed = undefined
      this.look()
      this.card?.again()
    } else {
      this.stream.close()
      if (this.time.playing) void this.lookBack()
      else this.dragged()
      // A card asks for its hour anew when the time rests.
      this.rest()
    }
    this.card?.move()
    this.draw()
    this.remember()
  }

  /** dragged asks once the slider has been still for a moment: each answer takes work of the stores. */
  private readonly dragged = after(120, () => void this.lookBack())
  private readonly rest = after(600, () => this.card?.again())

  /** lookBack asks for cells and riders of the time that is shown; while it waits, the last ones are dimmed. */
  private async lookBack(): Promise<void> {
    const at = this.time.at
    const viewed = this.viewed
    if (at === undefined || !viewed) return
    if (
      this.time.playing &&
      this.pastAt !== undefined &&
      Math.floor(this.pastAt / 10_000) === Math.floor(at / 10_000)
    ) {
      this.pastAt = at // the same window
      return
    }
    if (this.time.playing && this.waiting) return
    this.asking.abort()
    this.asking = new AbortController()
    const { signal } = this.asking
    this.waiting = true
    try {
      const bbox = boxText(viewed.box)
      const [cells, riders] = await Promise.allSettled([
        viewed.res === undefined ? undefined : get<CellsAnswer>('v1/cells', { bbox, res: viewed.res, at }, signal),
        viewed.riders ? get<RidersAnswer>('v1/riders', { bbox, at, limit: mostRiders }, signal) : undefined,
      ])
      if (signal.aborted) return
      this.showPast(at, cells, riders)
    } finally {
      if (!signal.aborted) this.waiting = false
    }
    this.draw()
  }

  /** showPast puts on the map what is told of an earlier time, and says what is not. */
  private showPast(
    at: number,
    cells: PromiseSettledResult<CellsAnswer | undefined>,
    riders: PromiseSettledResult<RidersAnswer | undefined>,
  ): void {
    this.ground.release()
    this.pastProblem = ''
    this.pastRiders = ''
    if (cells.status === 'rejected') this.pastProblem = said(cells.reason)
    else {
      this.cells.show(cells.value ?? { features: [] })
      this.pastAt = at
    }
    if (riders.status === 'rejected') this.pastRiders = `The riders are not shown: ${said(riders.reason)}`
    else if (riders.value && cells.status === 'fulfilled') {
      this.fleet.show(riders.value, performance.now(), this.time.playing && !calm(), this.time.speed)
      this.choose()
    } else {
      this.fleet.clear()
      if (cells.status === 'fulfilled' && !riders.value) this.fleet.past = true
    }
    const told = [cells, riders].flatMap((a) => (a.status === 'fulfilled' && a.value ? [a.value] : []))
    if (told.some((a) => a.partial)) this.pastProblem ||= 'A part of the databases did not answer.'
    if (this.pastProblem === '' && this.pastRiders === '' && this.cells.all.size === 0 && this.fleet.count === 0)
      this.pastProblem = 'Nothing is stored of this time here.'
    const waits = [cells, riders].map((a) =>
      a.status === 'rejected' && a.reason instanceof Refusal ? a.reason.retryAfter : 0,
    )
    if (Math.max(...waits) > 0) this.later(Math.max(...waits))
  }

  private waiting = false
  private later(seconds: number): void {
    const { signal } = this.asking
    setTimeout(() => {
      if (!signal.aborted) void this.lookBack()
    }, seconds * 1000)
  }

  /** say tells in words what is shown, and dims what is not as of now. */
  private say(): void {
    const { at } = this.time
    const { state, reason } = this.link
    const fresh = this.fresh()
    const pill =
      at !== undefined
        ? 'Past'
        : { off: 'Starting', connecting: 'Connecting', live: 'Live', paused: 'Paused', lost: 'Not connected' }[state]
    setText(this.pill, pill)
    this.pill.dataset.state = at !== undefined ? 'past' : state
    let text = ''
    if (at !== undefined)
      text =
        this.pastProblem === ''
          ? `The past: ${this.units.moment(at)}${this.pastRiders === '' ? '' : `. ${this.pastRiders}`}`
          : `The past, ${this.units.moment(at)}: ${this.pastProblem}`
    else if (state === 'paused')
      text = `Paused by the server: ${reason}. The map shows how it was at ${this.units.time(this.fleet.at)}.`
    else if (state === 'lost')
      text =
        this.fleet.at > 0
          ? `No connection: ${reason} The map shows how it was at ${this.units.time(this.fleet.at)}.`
          : `No connection: ${reason}`
    else if (this.fleet.partial) text = 'A node does not answer: its riders are missing, or shown where they were.'
    else if (this.fleet.over && this.map.getZoom() >= dotsFrom) text = 'Too many riders here to draw each: zoom in.'
    this.time.stand((state === 'paused' || state === 'lost') && this.fleet.at > 0 ? this.fleet.at : undefined)
    setText(this.banner, text)
    this.banner.hidden = text === ''
    const tone = at !== undefined ? 'past' : state === 'paused' || state === 'lost' ? 'old' : 'hint'
    this.banner.dataset.tone = tone
    document.body.dataset.mode = at !== undefined ? 'past' : 'live'
    document.body.classList.toggle('stale', !fresh && state !== 'off' && state !== 'connecting')
    const dim = fresh ? 1 : 0.35
    if (dim !== this.dots.dim) {
      this.dots.dim = dim
      this.dots.changed()
      this.drawCells()
    }
  }

  /** restyle puts layers of data into a new style, in the colours of the theme. */
  private restyle(): void {
    const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
    const tones = {
      text: css('--ink'),
      paper: css('--paper'),
      track: css('--track'),
      mark: css('--mark'),
      alarm: css('--alarm'),
    }
    this.overlay.add(this.theme.dark, tones)
    for (const layer of labels(this.theme.dark)) this.map.addLayer(layer, 'clusters')
    this.dots.colours = {
      ink: rgb(css('--dot')),
      rim: rgb(css('--dot-rim')),
      gone: rgb(css('--dot-gone')),
      past: rgb(css('--dot-past')),
      mark: rgb(css('--mark')),
    }
    this.ground.fill()
    this.draw()
    this.status.restyle()
    this.card?.restyle()
  }

  private setTheme(): void {
    this.map.setStyle(style(this.theme.dark, this.settings), { diff: false })
    this.map.once('style.load', () => this.restyle())
  }

  private listen(): void {
    const { map } = this
    map.on('move', () => {
      this.hideDots()
    })
    map.on('moveend', (event) => {
      if ('originalEvent' in event && event.originalEvent) this.moved = true
      this.coarser = 0
      this.view()
      this.drawClusters()
      this.remember()
    })
    map.on('click', (event) => this.click(event.point.x, event.point.y, event.lngLat.lat, event.lngLat.lng))
    map.on('mousemove', (event) => {
      map.getCanvas().style.cursor = this.dots.nearest(event.point.x, event.point.y, 10) ? 'pointer' : ''
    })
    map.getCanvas().addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.cellAt(map.getCenter().lat, map.getCenter().lng)
    })
    document.addEventListener('keydown', (event) => this.key(event))
    window.addEventListener('hashchange', () => {
      this.hash = location.hash
      this.goTo(address.read(this.hash))
    })
    window.addEventListener(
      'resize',
      after(200, () => {
        this.status.restyle()
        this.card?.restyle()
      }),
    )
    document.addEventListener('visibilitychange', () => {
      // A hidden page asks for nothing; a page that is seen again asks for everything.
      if (document.hidden) this.stream.close()
      else if (this.time.at === undefined) {
        this.viewed = undefined
        this.look()
      }
    })
    this.theme.onChange(() => this.setTheme())
  }

  private click(x: number, y: number, lat: number, lng: number): void {
    const rider = this.dots.nearest(x, y, 12)
    if (rider) {
      this.chooseRider(rider.rider, rider.device === '' ? undefined : rider.device, false)
      return
    }
    this.cellAt(lat, lng)
  }

  private cellAt(lat: number, lng: number): void {
    const shown = this.cells.all.keys().next().value
    const res = shown === undefined ? this.viewed?.res : getResolution(shown)
    if (res !== undefined) this.chooseCell(latLngToCell(lat, lng, res))
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    if (event.key === 'Escape') {
      if (this.help.open) return
      if (this.card) this.close()
      else if (document.activeElement instanceof HTMLElement) document.activeElement.blur()
      return
    }
    if (event.target instanceof HTMLElement && event.target.closest('input, select, textarea, button, dialog, summary'))
      return
    const actions: Record<string, () => void> = {
      '/': () => this.search.focus(),
      ' ': () => this.time.toggle(),
      n: () => this.time.live(),
      '?': () => this.help.showModal(),
    }
    const action = actions[event.key]
    if (!action) return
    event.preventDefault()
    action()
  }

  private readonly help = el(
    'dialog',
    { class: 'help', 'aria-labelledby': 'help-title' },
    el('h2', { id: 'help-title' }, 'Reading the map'),
    el(
      'ul',
      {},
      el('li', {}, 'Hexagons are coloured by what the legend says. Click one for its numbers and its last hour.'),
      el(
        'li',
        {},
        'Dots are riders. A dot with a tip moves that way; a pale dot stands still; a dot fades while its rider is silent, and becomes a grey ring when it is only where the rider was.',
      ),
      el('li', {}, 'Far out, circles tell how many riders are there.'),
      el(
        'li',
        {},
        'Drag the time at the bottom to see the fleet as it was, or play it. Riders of the past are brown or amber.',
      ),
      el('li', {}, 'What is not as of now is dimmed, and a banner says so.'),
    ),
    el(
      'dl',
      { class: 'keys' },
      ...[
        ['/', 'find a rider'],
        ['Space', 'play or pause'],
        ['N', 'back to live'],
        ['Arrows, + and −', 'move and zoom, when the map has the focus'],
        ['Enter', 'choose the cell in the middle of the map'],
        ['Esc', 'close'],
      ].flatMap(([key, what]) => [el('dt', {}, el('kbd', {}, key ?? '')), el('dd', {}, what ?? '')]),
    ),
    el('form', { method: 'dialog' }, el('button', {}, 'Close')),
  )

  private readonly sheet = el(
    'button',
    {
      class: 'sheet',
      'aria-controls': 'panel',
      'aria-expanded': 'false',
      click: () => this.expand(!document.body.classList.contains('panel-open')),
    },
    'Details',
  )

  private expand(open: boolean): void {
    document.body.classList.toggle('panel-open', open)
    this.sheet.setAttribute('aria-expanded', String(open))
    setText(this.sheet, open ? 'Show the map' : 'Details')
    if (open) {
      this.status.restyle()
      this.card?.restyle()
    }
  }

  /** frame puts the parts of the page around the map. */
  private frame(): void {
    const find = el(
      'form',
      {
        class: 'search',
        role: 'search',
        submit: (event: SubmitEvent) => {
          event.preventDefault()
          const name = this.search.value.trim()
          if (name !== '') this.chooseRider(name)
        },
      },
      this.search,
      this.suggestions,
    )
    this.search.addEventListener('input', () => this.suggest())
    const copied = el('span', { class: 'hidden', role: 'status' })
    const copy = el(
      'button',
      {
        title: 'Copy a link to what is shown',
        'aria-label': 'Copy a link to what is shown',
        click: async () => {
          this.writeAddress()
          try {
            await navigator.clipboard.writeText(location.href)
            setText(copied, 'The link is copied.')
            copy.classList.add('done')
          } catch {
            prompt('The link:', location.href)
          }
          setTimeout(() => {
            setText(copied, '')
            copy.classList.remove('done')
          }, 2000)
        },
      },
      icon('M8 12l4-4M9 6l2-2a3.5 3.5 0 015 5l-2 2M11 14l-2 2a3.5 3.5 0 01-5-5l2-2'),
    )
    const units = el('button', {
      click: () => {
        this.units.choose(this.units.system === 'metric' ? 'imperial' : 'metric')
        named()
        this.scaleBar.setUnit(this.units.system)
        this.drawCells()
        this.card?.again()
        this.status.restyle()
      },
    })
    const named = () => {
      setText(units, this.units.speedUnit)
      units.setAttribute('aria-label', `Units: ${this.units.speedUnit}. Change them`)
      units.title = 'Change units'
    }
    named()
    const help = el('button', { title: 'Help (?)', 'aria-label': 'Help', click: () => this.help.showModal() }, '?')
    const out = `Leave, and forget the key ${this.keyName}`
    const tools = [this.theme.button, units, copy, help]
    if (this.keyName !== '') {
      tools.push(
        el(
          'button',
          { title: out, 'aria-label': out, click: () => void leave() },
          icon('M6 9V6.5a4 4 0 018 0V9M4.5 9h11v8h-11zM10 12v2'),
        ),
      )
    }
    this.panel.append(this.cardPlace, this.status.element)
    document.body.append(
      el(
        'header',
        { class: 'bar' },
        el('h1', {}, 'Pingline'),
        this.pill,
        find,
        el('div', { class: 'tools' }, ...tools, copied),
      ),
      this.banner,
      this.hello,
      this.legend.element,
      this.time.element,
      this.sheet,
      this.panel,
      this.help,
    )
    this.map.addControl(new NavigationControl({ showCompass: false }), 'top-left')
    this.scaleBar.setUnit(this.units.system)
    this.map.addControl(this.scaleBar, 'bottom-left')
    this.say()
  }

  /** suggest offers riders in view whose names have what was typed. */
  private suggest(): void {
    const typed = this.search.value.toLowerCase()
    const names = new Set<string>()
    for (const { rider } of this.fleet.riders) {
      if (rider.toLowerCase().includes(typed)) names.add(rider)
      if (names.size === 20) break
    }
    this.suggestions.replaceChildren(...[...names].sort().map((name) => el('option', { value: name })))
  }
}

/** grown returns a box around bounds that is larger by a share of them on each side. */
function grown(bounds: LngLatBounds, by = 0.15): Box {
  const width = bounds.getEast() - bounds.getWest()
  const height = bounds.getNorth() - bounds.getSouth()
  return boxOf(
    bounds.getWest() - by * width,
    bounds.getSouth() - by * height,
    bounds.getEast() + by * width,
    bounds.getNorth() + by * height,
  )
}

/** densest returns bounds of the riders about the busiest region of some 150 km. */
function densest(riders: { lat: number; lon: number }[]): LngLatBoundsLike | undefined {
  const groups = new Map<string, { lat: number; lon: number }[]>()
  for (const r of riders) {
    const cell = latLngToCell(r.lat, r.lon, 2)
    const group = groups.get(cell) ?? []
    group.push(r)
    groups.set(cell, group)
  }
  const group = [...groups.values()].sort((a, b) => b.length - a.length)[0]
  if (!group) return undefined
  const between = (list: number[]): [number, number] => {
    const sorted = list.sort((a, b) => a - b)
    const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] ?? 0
    return [at(0.04), at(0.96)]
  }
  const [west, east] = between(group.map((r) => r.lon))
  const [south, north] = between(group.map((r) => r.lat))
  return [
    [west, south],
    [east, north],
  ]
}

function rgb(colour: string): number[] {
  const n = Number.parseInt(colour.slice(1), 16)
  return [(n >> 16) / 255, ((n >> 8) & 255) / 255, (n & 255) / 255]
}
