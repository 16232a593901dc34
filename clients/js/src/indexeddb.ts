import type { Row, Store } from './store.js'

const pings = 'pings'

/** IndexedDBStore keeps pings in the browser: over reloads, and until the site's data is cleared. Tabs may share it. */
export class IndexedDBStore implements Store {
  private db?: Promise<IDBDatabase>

  constructor(private readonly name = 'pingline') {}

  async add(rows: Omit<Row, 'id'>[]): Promise<void> {
    await this.within('readwrite', (store) => {
      for (const row of rows) store.add(row)
    })
  }

  oldest(n: number): Promise<Row[]> {
    return this.rows((_, read) => read(null, n))
  }

  newest(n: number): Promise<Row[]> {
    return this.rows((store, read) => {
      const search = store.openKeyCursor(null, 'prev')
      let jumped = n <= 1
      search.onsuccess = () => {
        const cursor = search.result
        if (!cursor) return read(null, n) // there are fewer
        if (jumped) return read(IDBKeyRange.lowerBound(cursor.key), n)
        jumped = true
        return cursor.advance(n - 1)
      }
    })
  }

  async remove(ids: number[]): Promise<void> {
    await this.within('readwrite', (store) => {
      for (const id of ids) store.delete(id)
    })
  }

  async count(): Promise<number> {
    let n = 0
    await this.within('readonly', (store) => {
      const request = store.count()
      request.onsuccess = () => {
        n = request.result
      }
    })
    return n
  }

  /** rows returns the rows that f reads. */
  private async rows(
    f: (store: IDBObjectStore, read: (range: IDBKeyRange | null, n: number) => void) => void,
  ): Promise<Row[]> {
    let values: Omit<Row, 'id'>[] = []
    let keys: IDBValidKey[] = []
    await this.within('readonly', (store) =>
      f(store, (range, n) => {
        const ofValues = store.getAll(range, n)
        ofValues.onsuccess = () => {
          values = ofValues.result
        }
        const ofKeys = store.getAllKeys(range, n)
        ofKeys.onsuccess = () => {
          keys = ofKeys.result
        }
      }),
    )
    return values.map((value, i) => ({ ...value, id: keys[i] as number }))
  }

  /** within returns once the transaction that f fills is complete: if it writes, once that is on disk. */
  private async within(mode: IDBTransactionMode, f: (store: IDBObjectStore) => void): Promise<void> {
    const db = await this.open()
    await new Promise<void>((done, failed) => {
      const t = db.transaction(pings, mode, { durability: 'strict' })
      t.oncomplete = () => done()
      t.onabort = () => failed(t.error ?? new Error('the browser keeps nothing more'))
      f(t.objectStore(pings))
    })
  }

  private open(): Promise<IDBDatabase> {
    this.db ??= new Promise<IDBDatabase>((done, failed) => {
      const request = indexedDB.open(this.name, 1)
      request.onupgradeneeded = () => request.result.createObjectStore(pings, { autoIncrement: true })
      request.onsuccess = () => {
        const db = request.result
        db.onclose = () => delete this.db // the browser has closed it: open it anew
        db.onversionchange = () => {
          db.close()
          delete this.db
        }
        done(db)
      }
      request.onerror = () => failed(request.error)
    }).catch((error: unknown) => {
      delete this.db
      throw error
    })
    return this.db
  }
}
