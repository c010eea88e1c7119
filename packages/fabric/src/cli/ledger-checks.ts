import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isSlotName } from '@countersign/protocol'
import { DATA_FILES, listRunning, readIfPresent } from './data-folder.ts'
import { formatCount } from './output/quantities.ts'
import { fail, ok, type Patient, type Verdict, warn } from './verdict.ts'

const noLedger = ok('the ledger does not exist yet')

/** Looks at the log of every slot that this data folder has. */
async function ofEachSlot(
  dataDir: string,
  check: (slot: string) => Promise<Verdict | null>,
): Promise<Verdict> {
  const folders = await readdir(join(dataDir, 'ledger')).catch(() => [])
  const verdicts: (readonly [slot: string, verdict: Verdict])[] = []
  for (const slot of folders.filter(isSlotName).toSorted()) {
    const verdict = await check(slot)
    if (verdict !== null) verdicts.push([slot, verdict])
  }
  const [first, ...others] = verdicts
  if (first === undefined) return noLedger
  if (others.length === 0) return first[1]
  const worst =
    verdicts.find(([, { state }]) => state === 'fail') ??
    verdicts.find(([, { state }]) => state === 'warn')
  if (worst === undefined) return ok(verdicts.map(named).join('; '))
  return { ...worst[1], says: named(worst) }
}

const named = ([slot, { says }]: readonly [slot: string, verdict: Verdict]): string =>
  `slot ${slot}: ${says}`

/** The lock ends with its process, so one that is held belongs to a process that is alive. */
export async function checkLedgerLock(dataDir: string): Promise<Verdict> {
  const { DatabaseSync } = await import('node:sqlite')
  const running = await listRunning(dataDir)
  return ofEachSlot(dataDir, async (slot) => {
    const path = join(dataDir, 'ledger', slot, 'lock')
    if ((await stat(path).catch(() => null)) === null) return null
    const database = new DatabaseSync(path)
    let isFree = true
    try {
      database.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE; ROLLBACK')
    } catch {
      isFree = false
    } finally {
      database.close()
    }
    return lockVerdict(isFree, running.find((each) => each.slot === slot)?.pid ?? null, path)
  })
}

function lockVerdict(isFree: boolean, pid: number | null, path: string): Verdict {
  if (pid !== null) {
    if (!isFree) return ok(`held by process ${pid}`)
    return fail('the fabric runs without it', `stop process ${pid} and start it again`)
  }
  if (isFree) return ok('free')
  return fail('another process holds the ledger', `find it (\`lsof ${path}\`) and stop it`)
}

/**
 * Does what a start does, and changes nothing: what it rejects with would end the start as well.
 */
export async function checkLedger({ config, clock }: Patient): Promise<Verdict> {
  const { dataDir } = config
  const running = await listRunning(dataDir)
  const trust = await readIfPresent(join(dataDir, DATA_FILES.trust))
  const { inspectLedgerFolder } = await import('../compose/ledger-check.ts')
  return ofEachSlot(dataDir, async (slot) => {
    const found = await stat(join(dataDir, 'ledger', slot, 'log')).catch(() => null)
    if (found === null) return null
    if (running.some((each) => each.slot === slot)) {
      return ok('in use; `ledger check` derives all of it')
    }
    if (trust === null) return warn('the trust file is missing', 'start the fabric once')
    try {
      const outlook = await inspectLedgerFolder(config, { slot, trust, clock })
      if (outlook !== null) return outlookVerdict(outlook)
      return warn('the trust file does not list its keys yet', startOf(running.length))
    } catch (error) {
      const says = error instanceof Error ? error.message : String(error)
      return fail(says, 'see "Start failures" in docs/operate/recover.md')
    }
  })
}

/** The first free slot goes to the next process that starts. */
function startOf(runningCount: number): string {
  if (runningCount === 0) return 'start the fabric once'
  return 'start one more process (`countersign up --replica`), which takes this slot'
}

/** Fewer are read within a second, and need no mention. */
const indexedAtOnce = 50_000

interface Outlook {
  readonly entries: number
  readonly open: number
  readonly toIndex: number
  readonly freeBytes: number
  readonly refuseBytes: number
  readonly warnBytes: number
}

function outlookVerdict(outlook: Outlook): Verdict {
  const { entries, open, toIndex, freeBytes, refuseBytes, warnBytes } = outlook
  if (freeBytes < warnBytes) {
    const says = `${freeBytes} bytes are free; below ${refuseBytes} nothing is delivered`
    const next = 'free space on the disk of the ledger'
    return freeBytes < refuseBytes ? fail(says, next) : warn(says, next)
  }
  const says = [
    formatCount(entries, 'entry', 'entries'),
    ...(open === 0 ? [] : [`the next start closes ${formatCount(open, 'exchange')}`]),
    ...(toIndex <= indexedAtOnce ? [] : [`the next start indexes ${toIndex} entries`]),
  ]
  return ok(says.join('; '))
}
