/** Row is a ping in a Store. */
export interface Row {
  id: number // given by the store, larger than those of all rows before
  ts: number // ms since 1970
  text: string // the ping as it is sent, JSON
  urgent?: boolean
}

/**
 * Store keeps pings until they are acknowledged. Rows are in the order in which they were added.
 * A Store is used by one Sender, or by several whose locks have the same name.
 */
export interface Store {
  /** add keeps all rows or, if it throws, none. It returns once they would survive a crash. */
  add(rows: Omit<Row, 'id'>[]): Promise<void>
  /** oldest returns the first n rows, or all. */
  oldest(n: number): Promise<Row[]>
  /** newest returns the last n rows, or all, also in the order in which they were added. */
  newest(n: number): Promise<Row[]>
  /** remove forgets rows; unknown ids are none's. */
  remove(ids: number[]): Promise<void>
  count(): Promise<number>
}

/** MemoryStore keeps pings as long as the page or the program lives. */
export class MemoryStore implements Store {
  private rows: Row[] = []
  private last = 0

  async add(rows: Omit<Row, 'id'>[]): Promise<void> {
    for (const row of rows) {
      this.last++
      this.rows.push({ ...row, id: this.last })
    }
  }

  async oldest(n: number): Promise<Row[]> {
    return this.rows.slice(0, n)
  }

  async newest(n: number): Promise<Row[]> {
    return this.rows.slice(Math.max(0, this.rows.length - n))
  }

  async remove(ids: number[]): Promise<void> {
    const gone = new Set(ids)
    this.rows = this.rows.filter((row) => !gone.has(row.id))
  }

  async count(): Promise<number> {
    return this.rows.length
  }
}
