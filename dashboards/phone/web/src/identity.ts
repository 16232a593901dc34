import { keep, stored } from '../../../livemap/web/src/dom'

/** Identity is as whom the page sends. */
export interface Identity {
  rider: string
  key: string // '' where the server asks for none
  device: string
}

/** ending ends a name that this page makes up, without letters that look alike. */
function ending(): string {
  const letters = 'abcdefghjkmnpqrstuvwxyz23456789'
  return [...crypto.getRandomValues(new Uint8Array(4))].map((n) => letters[n % letters.length]).join('')
}

/** device returns the name of this browser, which it keeps: two phones of a rider are two tracks. */
function device(): string {
  const kept = stored('phone.device')
  if (kept) return kept
  const made = `browser-${ending()}`
  keep('phone.device', made)
  return made
}

/** known returns what was typed or scanned before. */
export function known(): Identity | undefined {
  const rider = stored('phone.rider')
  return rider ? { rider, key: stored('phone.key') ?? '', device: device() } : undefined
}

export function remember(rider: string, key: string): void {
  keep('phone.rider', rider)
  keep('phone.key', key)
}

/** forget forgets the rider and the key; pings that wait stay. */
export function forget(): void {
  for (const name of ['rider', 'key', 'on']) localStorage.removeItem(`pingline.phone.${name}`)
}

/**
 * scanned takes #rider=…&key=… out of the address, remembers both, and reports whether they were there. A
 * fragment is sent to no server; taken out, it is in no history either. A rider such as guest-*
 * becomes one of its own.
 */
export function scanned(): boolean {
  const given = new URLSearchParams(location.hash.slice(1))
  const rider = given.get('rider')
  if (!rider) return false
  history.replaceState(null, '', location.pathname + location.search)
  const before = known()
  const open = rider.endsWith('*')
  const begins = rider.slice(0, -1)
  const again = open && before?.rider.startsWith(begins) ? before.rider : undefined // the code was scanned again
  remember(again ?? (open ? begins + ending() : rider), given.get('key') ?? '')
  return true
}
