/** verdicts are all that a server says of a ping; docs/api.md has their meanings. */
export const verdicts = ['accepted', 'held', 'redundant', 'duplicate', 'shed', 'rejected'] as const
export type Verdict = (typeof verdicts)[number]

/** Answered is a ping that the server has answered, and will not be sent again. */
export interface Answered<P> {
  ping: P
  verdict: Verdict
  field?: string // of a rejected ping, where the server names it; private_zone is no fault
  error?: string
}

/** Judged is the part of an Answered that an answer has. */
export type Judged = Omit<Answered<never>, 'ping'>

/** Outcome says how to go on after a request. */
export type Outcome =
  | { of: 'verdicts'; judged: Judged[] }
  | { of: 'halve'; why: string }
  | { of: 'again'; why: string } // the same pings, later
  | { of: 'key'; why: string } // the same pings, with another key
  | { of: 'refused'; why: string } // the same pings, once the address is mended

interface Body {
  verdicts?: unknown
  errors?: { index: number; field?: string; error?: string }[]
  error?: string
}

/** outcome reads the answer to n pings; text is its body. */
export function outcome(status: number, text: string, n: number): Outcome {
  const body = object(text)
  const why = body?.error ?? `the server answers ${status}`
  if (status === 200) {
    const judged = body && each(body, n)
    return judged
      ? { of: 'verdicts', judged }
      : { of: 'again', why: 'another server answers: a hotspot that asks for a login?' }
  }
  if (status === 401 || status === 403) return { of: 'key', why }
  if (status === 408 || status === 413) return n > 1 ? { of: 'halve', why } : single(status, why)
  if (status === 400 && Array.isArray(body?.errors)) return { of: 'verdicts', judged: rejected(n, why, body.errors) }
  if ((status === 400 || status === 415) && body?.error) return { of: 'verdicts', judged: rejected(n, why, []) }
  if (status >= 400 && status < 500 && status !== 429) return { of: 'refused', why }
  return { of: 'again', why }
}

/** single is the outcome of a single ping that came too slowly, or is too large. */
function single(status: number, why: string): Outcome {
  return status === 408 ? { of: 'again', why } : { of: 'verdicts', judged: rejected(1, why, []) }
}

function object(text: string): Body | undefined {
  try {
    const body: unknown = JSON.parse(text)
    return typeof body === 'object' && body !== null ? (body as Body) : undefined
  } catch {
    return undefined
  }
}

/** each returns the verdicts, or undefined if there is not one for each ping. */
function each(body: Body, n: number): Judged[] | undefined {
  const list = body.verdicts
  if (!Array.isArray(list) || list.length !== n || !list.every((v) => verdicts.includes(v))) return undefined
  const judged: Judged[] = (list as Verdict[]).map((verdict) => ({ verdict }))
  explain(judged, body.errors)
  return judged
}

function rejected(n: number, why: string, errors: Body['errors']): Judged[] {
  const judged = Array.from({ length: n }, (): Judged => ({ verdict: 'rejected', error: why }))
  explain(judged, errors)
  return judged
}

function explain(judged: Judged[], errors: Body['errors']): void {
  if (!Array.isArray(errors)) return
  for (const { index, field, error } of errors) {
    const of = judged[index]
    if (!of) continue
    if (field) of.field = field
    if (error) of.error = error
  }
}
