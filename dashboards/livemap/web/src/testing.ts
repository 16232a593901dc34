import type { App } from './app'
import { RiderCard } from './ridercard'

/** expose lets tests read the state of the page, as window.pingline. Nothing can be changed by it. */
export function expose(app: App): void {
  const state = {
    get mode() {
      return app.time.at === undefined ? 'live' : 'past'
    },
    get link() {
      return { ...app.link }
    },
    get riders() {
      return app.fleet.count
    },
    /** places are where riders are drawn, or glide to, by rider. */
    get places() {
      const { fleet } = app
      return Object.fromEntries(
        fleet.riders.map((r, i) => [r.rider, { at: fleet.lonLat(i), ts: fleet.ts[i], stale: fleet.isStale[i] === 1 }]),
      )
    },
    /** drawsRiders tells whether riders are drawn as dots. */
    get drawsRiders() {
      return !app.dots.hidden && app.dots.dim === 1
    },
    get names() {
      return app.fleet.riders.slice(0, 100).map((r) => r.rider)
    },
    get at() {
      return app.time.at ?? app.fleet.at
    },
    /** shown is the earlier time whose cells are on the map. */
    get shown() {
      return app.pastAt
    },
    get problem() {
      return app.pastProblem
    },
    get cells() {
      return Object.fromEntries([...app.cells.all].map(([cell, a]) => [cell, { ...a }]))
    },
    /** asked is the box and the resolution that were asked for. */
    get asked() {
      return app.asked
    },
    get view() {
      const centre = app.map.getCenter()
      return { zoom: app.map.getZoom(), lat: centre.lat, lon: centre.lng }
    },
    get track() {
      return app.card instanceof RiderCard ? app.card.track.points.map((p) => ({ ...p })) : []
    },
    get level() {
      return app.status.last?.level
    },
    /** recorded is the number of steps of the figures of ten minutes that are known. */
    get recorded() {
      return app.status.last?.history.received_per_s?.filter((n) => n !== null).length ?? 0
    },
    get breakers() {
      return app.status.last?.breakers.map((b) => ({ ...b })) ?? []
    },
    get metric() {
      return app.scale.metric.name
    },
    /** frames are the newest times between two drawings of riders, ms. */
    get frames() {
      return app.dots.frames.slice(-600)
    },
    /** drawn is the number of times that riders were drawn. */
    get drawn() {
      return app.dots.drawn
    },
    /** water is the number of waters of the street map in view. */
    get water() {
      return app.map.getSource('streets') ? app.map.querySourceFeatures('streets', { sourceLayer: 'water' }).length : 0
    },
    get idle() {
      return app.map.loaded() && !app.map.isMoving()
    },
    /** isStale tells whether a rider in view is drawn as silent. */
    isStale(rider: string) {
      const found = app.fleet.find(rider)
      return found && found.slot >= 0 ? app.fleet.isStale[found.slot] === 1 : undefined
    },
    /** pixel returns where a rider in view is drawn, pixels of the map. */
    pixel(rider: string) {
      const found = app.fleet.find(rider)
      if (!found || found.slot < 0) return undefined
      const { x, y } = app.map.project(app.fleet.lonLat(found.slot))
      return { x, y }
    },
  }
  Object.defineProperty(window, 'pingline', { value: Object.freeze(state), enumerable: true })
}
