import { existsSync } from 'node:fs'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import {
  type BackupMade,
  isSlotName,
  parseTrust,
  readSignedCheckpoint,
  toBase64,
  toHex,
  trustFingerprint,
} from '@countersign/protocol'
import { LockHeld, lockFile, whileLocked } from '../adapters/file/file-lock.ts'
import { openSqliteChannelRecords } from '../adapters/sqlite/channel-records.ts'
import { copyDatabase } from '../adapters/sqlite/snapshot.ts'
import type { BackupDocument, CopiedLog } from '../backup/backup-document.ts'
import {
  DATA_FOLDER_KINDS,
  type FileKind,
  kindOf,
  SLOT_FOLDER_KINDS,
} from '../backup/folder-kinds.ts'
import { copyLog, deriveLog } from '../backup/log-files.ts'
import { filesBelow, sumFile } from '../backup/plain-files.ts'
import type { Config } from '../config/config.ts'
import type { FlushedLog } from '../ledger/ledger.ts'
import { PrunedPart, prunedPath } from '../ledger/pruned-part.ts'
import { loadPruned } from '../ledger/retention.ts'
import { RETENTION_FILE } from '../ledger/retention-note.ts'
import { tileWidth } from '../ledger/tiles.ts'
import type { Clock } from '../lib/clock.ts'
import { isInside, makeFolder, UnusableFile } from '../lib/named-path.ts'
import type { Random } from '../lib/random.ts'
import { SNAPSHOTS_FOLDER } from './backup-snapshots.ts'
import { BackupTarget, copiedLogFolder, logFolder, sumsPath } from './backup-target.ts'
import { CHANNEL_FILES } from './queue.ts'
import { SECRETS_FOLDER, SECRETS_LOCK } from './secrets.ts'
import { settleStoppedLog, verifierOf } from './stopped-logs.ts'

export interface BackupRequest {
  readonly config: Pick<Config, 'dataDir' | 'ledger' | 'engines'>
  /** The folder that receives the backup: empty, or with an earlier backup of this fabric. */
  readonly folder: string
  /** The log slots whose processes are running. */
  readonly running: readonly string[]
  /** Asks the process of a slot for its snapshots. */
  readonly ask: (slot: string) => Promise<BackupMade>
  /** Derives the logs from their first entry on, and not from where the backup before ended. */
  readonly checkAll: boolean
  readonly clock: Clock
  readonly random: Random
  readonly onStep: (step: string) => void
}

export interface BackupReport extends Pick<BackupDocument, 'id' | 'at' | 'state' | 'logs'> {
  readonly folder: string
  readonly trustFingerprint: string
  /** Files of the logs that were copied, and those that the backup before had. */
  readonly copied: number
  readonly kept: number
  /** Files of the data folder that no fabric makes; they are not in the backup. */
  readonly unknown: readonly string[]
}

/** Of keys that change while they are copied. */
const keyAttemptsMax = 3
/** Of a log that is pruned while it is copied. */
const pruneAttemptsMax = 3

/**
 * Copies a data folder: the state, then the channels, then the logs. Each change is in a log before
 * it takes effect, so the copy is one that a crash could have left. Rejects, with the backup before
 * as it was, when any part is in doubt.
 */
export async function makeBackup(request: BackupRequest): Promise<BackupReport> {
  const { config, folder, clock, random } = request
  const { dataDir } = config
  if (isInside(folder, dataDir) || isInside(dataDir, folder)) {
    const next = 'name a folder apart from it, best on another disk'
    throw new UnusableFile(`${folder} and the data folder ${dataDir} contain one another`, next)
  }
  const trust = await readTrust(dataDir)
  const fingerprint = await trustFingerprint(trust)
  const at = clock.now()
  const id = `${new Date(at).toISOString().replaceAll(/[-:]|\.\d+/g, '')}-${toHex(random(4))}`
  const unlock = lockFile(join(dataDir, 'backup.lock'), 'the data folder, for another backup,')
  let target: BackupTarget | null = null
  try {
    target = await BackupTarget.open(folder, { id, trustFingerprint: fingerprint })
    return await new BackupRun({ request, target, trust }).run(at, fingerprint)
  } finally {
    target?.close()
    await rm(join(dataDir, SNAPSHOTS_FOLDER), { recursive: true, force: true })
    unlock()
  }
}

async function readTrust(dataDir: string) {
  const text = await readFile(join(dataDir, 'trust.json'), 'utf8').catch(() => null)
  if (text !== null) return parseTrust(text)
  const next = 'name the data folder of a fabric that was started once, by --data'
  throw new UnusableFile(`${dataDir} has no trust.json, so it is not a data folder`, next)
}

async function slotsOf(dataDir: string): Promise<readonly string[]> {
  const names = await readdir(join(dataDir, 'ledger')).catch(() => [])
  return names.filter(isSlotName).toSorted()
}

interface RunParts {
  readonly request: BackupRequest
  readonly target: BackupTarget
  readonly trust: ReturnType<typeof parseTrust>
}

class BackupRun {
  readonly #parts: RunParts
  readonly #dataDir: string
  #copied = 0
  #kept = 0

  constructor(parts: RunParts) {
    this.#parts = parts
    this.#dataDir = parts.request.config.dataDir
  }

  async run(at: number, fingerprint: string): Promise<BackupReport> {
    const { request, target } = this.#parts
    const { onStep } = request
    onStep('Copying the state')
    const state = await this.#copyState()
    onStep('Copying the channels')
    const flushed = await this.#flushLogs()
    const logs: CopiedLog[] = []
    for (const [slot, log] of [...flushed].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      onStep(`Copying the log of slot ${slot}`)
      logs.push(await this.#copyLog(slot, log))
    }
    onStep('Copying keys')
    const unknown = await this.#copyRest()
    await this.#copyKeys()
    const document = { at, trustFingerprint: fingerprint, state, logs }
    const { id } = await target.commit(document)
    const counts = { copied: this.#copied, kept: this.#kept, unknown }
    return { id, folder: target.folder, ...document, ...counts }
  }

  /** Resolves to the least size that the copy of each log will have. */
  async #flushLogs(): Promise<ReadonlyMap<string, FlushedLog>> {
    const { request, trust } = this.#parts
    const { config, clock, running } = request
    const flushed = new Map<string, FlushedLog>()
    let hasChannels = false
    for (const slot of running) {
      const made = await request.ask(slot)
      flushed.set(slot, made)
      hasChannels ||= made.channels
      if (made.channels) await this.#copyChannels(slot, made.folder)
    }
    if (!hasChannels) await this.#copyChannelsAlone()
    for (const slot of await slotsOf(this.#dataDir)) {
      if (running.includes(slot)) continue
      const log = await settleStoppedLog(config, { slot, trust, clock })
      if (log !== null) flushed.set(slot, log)
    }
    return flushed
  }

  async #copyState(): Promise<BackupDocument['state']> {
    const { target, request } = this.#parts
    const { engine } = request.config.engines.state
    if (engine === 'postgresql') return engine
    makeFolder(target.pathOf('log', ''))
    copyDatabase(join(this.#dataDir, 'state.db'), target.pathOf('log', 'state.db'))
    await target.written('log', 'state.db')
    return engine
  }

  async #copyChannels(slot: string, folder: string): Promise<void> {
    const from = join(this.#dataDir, SNAPSHOTS_FOLDER, slot, basename(folder))
    for (const file of Object.values(CHANNEL_FILES)) {
      if (await this.#parts.target.copy('log', `channels/${file}`, join(from, file))) continue
      throw new Error(`${join(from, file)} is missing: another backup may have replaced it`)
    }
  }

  /** Of a fabric that is not running: the process that has the records open has the messages. */
  async #copyChannelsAlone(): Promise<void> {
    const { target } = this.#parts
    const folder = join(this.#dataDir, 'channels')
    if (!existsSync(join(folder, CHANNEL_FILES.messages))) return
    const records = openAlone(folder)
    try {
      makeFolder(target.pathOf('log', 'channels'))
      const messages = `channels/${CHANNEL_FILES.messages}`
      copyDatabase(join(folder, CHANNEL_FILES.messages), target.pathOf('log', messages))
      await target.written('log', messages)
      const copy = join(this.#dataDir, SNAPSHOTS_FOLDER, CHANNEL_FILES.records)
      makeFolder(join(this.#dataDir, SNAPSHOTS_FOLDER))
      await rm(copy, { force: true })
      await records.snapshot(copy)
      await target.copy('log', `channels/${CHANNEL_FILES.records}`, copy)
    } finally {
      await records.close()
    }
  }

  /** A log that is pruned meanwhile is copied again: without its note, files would be missing. */
  async #copyLog(slot: string, log: FlushedLog): Promise<CopiedLog> {
    const root = join(this.#dataDir, 'ledger', slot, 'log')
    for (let attempt = 1; ; attempt++) {
      const before = await this.#prunedOf(slot, root)
      try {
        return await this.#copyLeft(slot, log, { root, ...before })
      } catch (cause) {
        const after = await this.#prunedOf(slot, root)
        if (after.minimum === before.minimum || attempt === pruneAttemptsMax) throw cause
      }
    }
  }

  async #prunedOf(slot: string, root: string) {
    const key = verifierOf(this.#parts.trust, slot)
    const { resources } = logFolder(root)
    const pruned = key === null ? new PrunedPart() : await loadPruned(resources, key)
    return { minimum: pruned.minimum }
  }

  async #copyLeft(
    slot: string,
    { size: least, headAt }: FlushedLog,
    { root, minimum }: { readonly root: string; readonly minimum: number },
  ): Promise<CopiedLog> {
    const { target, trust, request } = this.#parts
    const bytes = await readFile(join(root, 'checkpoint'))
    const checkpoint = await readSignedCheckpoint(bytes, trust)
    const { size, origin } = checkpoint
    if (size < least) throw new Error(`the checkpoint of slot ${slot} is older than its log`)
    const known = await target.known(slot)
    if (known.size > size) {
      const next = 'keep that backup, and name another folder'
      const what = `${target.folder} has ${known.size} entries of slot ${slot}, the log ${size}`
      throw new UnusableFile(what, next)
    }
    const place = copiedLogFolder(target.folder, slot)
    makeFolder(place)
    const to = logFolder(place)
    const copied = await copyLog(logFolder(root), to, { size, minimum }, known)
    this.#copied += copied.copied
    this.#kept += copied.kept
    request.onStep(`Deriving the log of slot ${slot} from the copy`)
    const from = request.checkAll ? 0 : known.size - (known.size % tileWidth)
    const { sums } = copied
    await deriveLog(to.resources, { size, minimum, root: checkpoint.root, sums, from })
    await target.write(sumsPath(target.id, slot), sums)
    await target.write(`log/${target.id}/ledger/${slot}/log/checkpoint`, bytes)
    const document = { slot, origin, size, root: toBase64(checkpoint.root), headAt }
    if (minimum === 0) return document
    for (const name of [RETENTION_FILE, prunedPath(minimum)]) {
      const path = `ledger/${slot}/log/${name}`
      if (!(await target.copy('log', path, join(root, name)))) {
        throw new Error(`${name} of slot ${slot} is missing: try again`)
      }
    }
    return { ...document, minimum }
  }

  async #copyRest(): Promise<readonly string[]> {
    const { target } = this.#parts
    const unknown: string[] = []
    for (const name of (await readdir(this.#dataDir)).toSorted()) {
      const kind = kindOf(DATA_FOLDER_KINDS, name)
      if (kind === 'log') await target.copy('log', name, join(this.#dataDir, name))
      if (kind === null) unknown.push(name)
    }
    return unknown
  }

  /**
   * A key is in the store before its first use, so that keys which are copied after the logs are
   * all that these need. An erasure in between would leave files and keys that do not belong
   * together: the files are then copied again.
   */
  async #copyKeys(): Promise<void> {
    for (let attempt = 0; attempt < keyAttemptsMax; attempt++) {
      const before = await this.#sumSecrets()
      await this.#copySlotFiles()
      await this.#parts.target.forgetKeys()
      for (const path of await this.#paths(DATA_FOLDER_KINDS, 'keys')) {
        if (path === SECRETS_FOLDER) await this.#locked(() => this.#copyBelow(path))
        else await this.#copyBelow(path)
      }
      if ([...before].every(([path, sum]) => this.#sumOfCopy(path) === sum)) return
    }
    throw new Error(`keys changed during each of ${keyAttemptsMax} copies: try again`)
  }

  async #sumSecrets(): Promise<ReadonlyMap<string, string>> {
    return this.#locked(async () => {
      const sums = new Map<string, string>()
      for (const name of await filesBelow(join(this.#dataDir, SECRETS_FOLDER))) {
        const path = `${SECRETS_FOLDER}/${name}`
        const sum = await sumFile(join(this.#dataDir, path))
        if (sum !== null) sums.set(path, sum.sha256)
      }
      return sums
    })
  }

  #sumOfCopy(path: string): string | null {
    return this.#parts.target.sumOf(`keys/${this.#parts.target.id}/${path}`)
  }

  async #copySlotFiles(): Promise<void> {
    for (const slot of await slotsOf(this.#dataDir)) {
      const folder = `ledger/${slot}`
      for (const name of await readdir(join(this.#dataDir, folder))) {
        if (kindOf(SLOT_FOLDER_KINDS, name) !== 'log') continue
        await this.#parts.target.copy('log', `${folder}/${name}`, join(this.#dataDir, folder, name))
      }
    }
  }

  async #paths(kinds: typeof DATA_FOLDER_KINDS, wanted: FileKind): Promise<readonly string[]> {
    const names = await readdir(this.#dataDir)
    return names.filter((name) => kindOf(kinds, name) === wanted)
  }

  async #copyBelow(path: string): Promise<void> {
    const from = join(this.#dataDir, path)
    if ((await stat(from)).isFile()) {
      await this.#parts.target.copy('keys', path, from)
      return
    }
    // A file that was listed may be replaced by its owner in between.
    for (const name of await filesBelow(from)) {
      await this.#parts.target.copy('keys', `${path}/${name}`, join(from, name))
    }
  }

  #locked<Result>(work: () => Promise<Result>): Promise<Result> {
    return whileLocked(join(this.#dataDir, SECRETS_LOCK), work)
  }
}

function openAlone(folder: string) {
  try {
    return openSqliteChannelRecords(folder)
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes('database is locked')) throw error
    throw new LockHeld('a process that takes no orders holds the channels: try again, or stop it')
  }
}
