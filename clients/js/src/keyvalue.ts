import type { Row, Store } from './store.js'

/** KeyValue is what a KeyValueStore needs of a place for texts. AsyncStorage of React Native has it. */
export interface KeyValue {
  getItem(key: string): Promise<string | null>
  setItem(key: string, value: string): Promise<void>
  removeItem(key: string): Promise<void>
  getAllKeys(): Promise<readonly string[]>
}

/** KeyValueStore keeps each ping as an item. It is as durable as setItem is. No other may use its items at the same time. */
export class KeyValueStore implements Store {
  private ids?: Promise<number[]>
  private last = 0

  constructor(
    private readonly items: KeyValue,
    private readonly prefix = 'pingline:',
  ) {}

  async add(rows: Omit<Row, 'id'>[]): Promise<void> {
    await this.load()
    const made = rows.map(() => ++this.last)
    try {
      for (const [i, row] of rows.entries()) await this.items.setItem(this.key(made[i] as number), JSON.stringify(row))
    } catch (error) {
      await Promise.all(made.map((id) => this.items.removeItem(this.key(id)).catch(() => {})))
      throw error
    }
    const ids = await this.load()
    ids.push(...made)
    ids.sort((a, b) => a - b) // two calls may have overlapped
  }

  async oldest(n: number): Promise<Row[]> {
    return this.read((await this.load()).slice(0, n))
  }

  async newest(n: number): Promise<Row[]> {
    const ids = await this.load()
    return this.read(ids.slice(Math.max(0, ids.length - n)))
  }

  async remove(gone: number[]): Promise<void> {
    await this.load()
    await Promise.all(gone.map((id) => this.items.removeItem(this.key(id))))
    const left = new Set(gone)
    this.ids = Promise.resolve((await this.load()).filter((id) => !left.has(id)))
  }

  async count(): Promise<number> {
    return (await this.load()).length
  }

  private key(id: number): string {
    return this.prefix + String(id).padStart(15, '0')
  }

  private load(): Promise<number[]> {
    this.ids ??= this.items.getAllKeys().then(
      (keys) => {
        const ids = keys
          .filter((key) => key.startsWith(this.prefix))
          .map((key) => Number(key.slice(this.prefix.length)))
          .filter((id) => Number.isSafeInteger(id))
          .sort((a, b) => a - b)
        this.last = ids[ids.length - 1] ?? 0
        return ids
      },
      (error: unknown) => {
        delete this.ids // to be read the next time
        throw error
      },
    )
    return this.ids
  }

  private async read(ids: number[]): Promise<Row[]> {
    const rows: Row[] = []
    for (const id of ids) {
      const text = await this.items.getItem(this.key(id))
      const row = text === null ? undefined : parsed(text)
      if (row) rows.push({ ...row, id })
      else await this.remove([id]) // torn by a crash before add returned
    }
    return rows
  }
}

function parsed(text: string): Omit<Row, 'id'> | undefined {
  try {
    const row = JSON.parse(text) as Omit<Row, 'id'>
    return typeof row.text === 'string' && typeof row.ts === 'number' ? row : undefined
  } catch {
    return undefined
  }
}
