import type { Ping } from '../../../../clients/js/src/index.js'
import type { Identity } from './identity'

interface Battery {
  level: number
}

/** Trouble is why there is no position. */
export type Trouble = 'denied' | 'unavailable' | undefined

/** Watch asks the browser for positions, and keeps the screen on, while it is on and the page is in front. */
export class Watch {
  trouble: Trouble
  awake = false // the browser keeps the screen on
  last: Ping | undefined
  private id: number | undefined
  private lock: WakeLockSentinel | undefined
  private battery: Battery | undefined

  constructor(
    private readonly of: Identity,
    private readonly found: (ping: Ping) => void,
    private readonly changed: () => void,
  ) {
    const { getBattery } = navigator as { getBattery?: () => Promise<Battery> }
    getBattery?.call(navigator).then(
      (battery) => {
        this.battery = battery
      },
      () => {},
    )
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState !== 'visible' || this.id === undefined) return
      this.stop() // some browsers leave a watch dead when they come back
      this.start()
    })
  }

  start(): void {
    if (this.id !== undefined) return
    this.trouble = undefined
    this.id = navigator.geolocation.watchPosition(
      (position) => this.take(position),
      (error) => {
        this.trouble = error.code === error.PERMISSION_DENIED ? 'denied' : 'unavailable'
        this.changed()
      },
      { enableHighAccuracy: true, maximumAge: 0 },
    )
    void this.stayAwake()
  }

  stop(): void {
    if (this.id === undefined) return
    navigator.geolocation.clearWatch(this.id)
    this.id = undefined
    void this.lock?.release().catch(() => {})
    this.lock = undefined
    this.awake = false
  }

  private take({ coords, timestamp }: GeolocationPosition): void {
    this.trouble = undefined
    const ts = Math.round(timestamp)
    if (ts === this.last?.ts) return
    const ping: Ping = {
      rider_id: this.of.rider,
      device_id: this.of.device,
      ts,
      lat: at(coords.latitude),
      lon: at(coords.longitude),
    }
    for (const name of ['accuracy', 'altitude', 'speed', 'heading'] as const) {
      const value = coords[name]
      if (value !== null && Number.isFinite(value)) ping[name] = Number(value.toFixed(2))
    }
    if (this.battery) ping.battery = this.battery.level
    this.last = ping
    this.found(ping)
  }

  private async stayAwake(): Promise<void> {
    try {
      const lock = await navigator.wakeLock.request('screen')
      if (this.id === undefined) {
        void lock.release()
        return
      }
      this.lock = lock
      this.awake = true
      lock.addEventListener('release', () => {
        if (this.lock === lock) this.awake = false
        this.changed()
      })
    } catch {
      this.awake = false // the browser cannot, or saves its battery
    }
    this.changed()
  }
}

/** at rounds to 1e-7 degrees, a centimetre, as the server does. */
function at(degrees: number): number {
  return Number(degrees.toFixed(7))
}
