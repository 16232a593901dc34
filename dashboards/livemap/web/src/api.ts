/** Refusal is an answer of the server that is not 200. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfter: number, // seconds; 0: not said
  ) {
    super(message)
  }
}

export type Parameters = Record<string, string | number | undefined>

/** path returns a route with its parameters, relative to the page. */
export function path(route: string, parameters: Parameters = {}): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) query.set(name, String(value))
  }
  const text = query.toString()
  return text === '' ? route : `${route}?${text}`
}

/** refused returns the Refusal that an answer is. The page hears "locked" where a key is needed. */
export async function refused(answer: Response): Promise<Refusal> {
  if (answer.status === 401) dispatchEvent(new Event('locked'))
  let text = answer.statusText
  try {
    text = ((await answer.json()) as { error?: string }).error ?? text
  } catch {
    // A proxy's page, or nothing.
  }
  return new Refusal(answer.status, text, Number(answer.headers.get('Retry-After') ?? 0))
}

/** get asks for JSON. It throws a Refusal, or what fetch throws. */
export async function get<T>(route: string, parameters?: Parameters, signal?: AbortSignal): Promise<T> {
  const answer = await fetch(path(route, parameters), signal ? { signal } : {})
  if (!answer.ok) throw await refused(answer)
  return (await answer.json()) as T
}

/** said returns what a person is told of an error. */
export function said(error: unknown): string {
  if (error instanceof Refusal) return error.message
  if (error instanceof TypeError) return 'The server does not answer.'
  return String(error)
}

export function aborted(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError'
}

/** Settings are the server's, for the page. */
export interface Settings {
  version: string
  max_error: number // metres
  accuracy_cap: number // metres
  resolutions: number[] // of cells, finest first
  levels: { name: string; giving_up: string[] }[]
  tiles?: { url: string; attribution: string }
  basemap?: string // URL of a file of PMTiles
}

export interface Ping {
  device_id?: string
  ts: number
  lat: number
  lon: number
  speed?: number
  heading?: number
  accuracy?: number
  altitude?: number
  battery?: number
  event?: string
  trip_id?: string
  skipped?: number
  late?: boolean
  clock?: string
  waiting?: boolean
}

export interface RiderAnswer {
  rider_id: string
  pings: Ping[]
  partial: boolean
  memory_only?: boolean
}

export interface TrackAnswer extends RiderAnswer {
  next?: string
  complete_to: number
}

export interface RidersAnswer {
  riders: (Ping & { rider_id: string; age_s: number; stale?: boolean; between?: boolean })[]
  next?: string
  at: number
  stale_s: number
  partial?: boolean
}

/** Activity is what happened in a cell within a window. Speeds are m/s, or null. */
export interface Activity {
  from: number
  window_s: number
  pings: number
  riders: number
  moving: number
  waiting: number
  speed_mean: number | null
  speed_max: number | null
}

export interface CellsAnswer {
  features: { properties: Activity & { cell: string; res: number } }[]
  partial?: boolean
}

export interface HistoryAnswer {
  res: number
  window_s: number
  step_s: number
  steps: Omit<Activity, 'window_s'>[]
  partial: boolean
}

export const figures = [
  'received_per_s',
  'stored_per_s',
  'kept_ratio',
  'shed_per_s',
  'freshness_p50_s',
  'freshness_p99_s',
  'queue_pings',
  'queue_age_s',
  'level',
  'breakers_open',
  'riders',
  'streams',
] as const
export type Figure = (typeof figures)[number]

/** ShardChange is a change of the databases that goes on. */
export interface ShardChange {
  set: string
  phase: string
  what: string
  history?: string
  done?: number
  rows_per_s?: number
  left_s?: number
  stands?: string
}

export interface Status {
  at: number
  version: string
  ready: boolean
  reason: string
  level: number
  level_name: string
  level_reason?: string
  giving_up: string[]
  breakers: { shard: string; state: string }[]
  now: Partial<Record<Figure, number | null>>
  step_s: number
  from: number
  history: Partial<Record<Figure, (number | null)[]>>
  reshard?: ShardChange[]
}
