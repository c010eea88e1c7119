import { type Stats, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'

export interface DiskWatch {
  close(): void
}

/** Files whose removal a process with open descriptors does not see by itself. */
function watchedOf(slot: string): readonly string[] {
  const ledger = `ledger/${slot}`
  return ['', 'ledger', ledger, `${ledger}/lock`, `${ledger}/wal`, 'state.db']
}

const everyMsDefault = 2_000

/**
 * Looks at the data folder while the fabric runs. An open file can be written long after its name
 * is gone: entries would be acknowledged that can never be read again.
 */
export function watchDisk(
  { dataDir, slot }: { readonly dataDir: string; readonly slot: string },
  onGone: (cause: Error) => void,
  everyMs: number = everyMsDefault,
): DiskWatch {
  const watched = watchedOf(slot)
  // At once: what is removed before a look would have ended is removed as well.
  const first = watched.map((name) => {
    const found = statSync(join(dataDir, name), { throwIfNoEntry: false })
    return found === undefined ? null : identityOf(found)
  })
  let looking = false
  const look = async (): Promise<void> => {
    const now = await identitiesOf(dataDir, watched)
    const gone = watched.find((_, at) => first[at] !== null && first[at] !== now[at])
    if (gone === undefined) return
    clearInterval(timer)
    onGone(new Error(`${join(dataDir, gone)} of the data folder was removed or replaced`))
  }
  const timer = setInterval(() => {
    // A disk that hangs must not gather looks.
    if (looking) return
    looking = true
    void look().finally(() => {
      looking = false
    })
  }, everyMs)
  timer.unref()
  return { close: () => clearInterval(timer) }
}

async function identitiesOf(
  dataDir: string,
  watched: readonly string[],
): Promise<readonly (string | null)[]> {
  return Promise.all(
    watched.map(async (name) => {
      const found = await stat(join(dataDir, name)).catch(() => null)
      return found === null ? null : identityOf(found)
    }),
  )
}

const identityOf = ({ dev, ino }: Stats): string => `${dev}:${ino}`
