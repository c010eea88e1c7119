import { rmSync, writeFileSync } from 'node:fs'
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { isSlotName } from '@countersign/protocol'
import { parseConfig } from '../config/config.ts'
import { type Environment, readConfigText } from '../config/read.ts'
import { makeFolder, UnusableFile } from '../lib/named-path.ts'
import type { CommonOptions } from './context.ts'
import { Failure, toFailure } from './failure.ts'
import { machineFailure } from './machine-fault.ts'

/** The facts that a running fabric leaves in its data folder, so that commands can find it. */
export interface RunningFabric {
  readonly origin: string
  readonly pid: number
  /** Its log slot. Of several replicas on one data folder, each has its own. */
  readonly slot: string
}

/** The slot of a fabric that is one process, whose file has the plain name. */
const firstSlot = 'a'

/** Names inside a data folder, in addition to those that the fabric itself keeps there. */
export const DATA_FILES = {
  running: 'fabric.json',
  trust: 'trust.json',
  root: 'ca.pem',
  operator: 'operator',
  demoDone: 'demo-done',
} as const

/** `--data`, else COUNTERSIGN_DATA, else the value of the configuration, else `.countersign`. */
export function findDataFolder(options: CommonOptions, environment: Environment): string {
  const named = options.data ?? environment.dataDir
  if (named !== null) return resolve(named)
  const file = readConfigText(environment, options.config ?? null)
  // A client opens no secrets, so it must not ask for the key that the server needs.
  return parseConfig(file, { ...environment, masterKey: environment.masterKey ?? '' }).dataDir
}

/** The folder of policies of that fabric, which the configuration can name. */
export function findPolicyFolder(options: CommonOptions, environment: Environment): string {
  const file = readConfigText(environment, options.config ?? null)
  const client = { ...environment, masterKey: environment.masterKey ?? '' }
  return parseConfig(file, client, { dataDir: options.data }).policyDir
}

/** Makes the folder, and tries whether files can be made in it: otherwise nothing else is tried. */
export function openDataFolder(dataDir: string): void {
  const probe = join(dataDir, `.probe-${process.pid}`)
  try {
    makeFolder(dataDir)
    try {
      writeFileSync(probe, '', { mode: 0o600 })
    } catch (error) {
      throw isAbsent(error) ? new UnusableFile('the file system takes no files there') : error
    } finally {
      rmSync(probe, { force: true })
    }
  } catch (error) {
    throw unusableFolder(dataDir, error)
  }
}

function unusableFolder(dataDir: string, error: unknown): Failure {
  // Of the folder that was named, not of a file in it that the user did not name.
  if (error instanceof Error && 'path' in error) Object.assign(error, { path: dataDir })
  const what = `the data folder ${dataDir} cannot be used`
  const machine = machineFailure('unreachable', { what, dataDir }, error)
  const { exit, message } = toFailure(error)
  // Of the machine only what another folder would not help against.
  if (machine !== null && exit !== 'usage') return machine
  const next =
    'name another one by --data, COUNTERSIGN_DATA or `dataDir`, or give this user the right to it'
  return new Failure('usage', `${what}: ${message}`, next)
}

/**
 * The fabric that runs on this folder, or null; of several replicas, that of the first log slot. A
 * file left behind by a crash is none.
 */
export async function findRunning(dataDir: string): Promise<RunningFabric | null> {
  return (await listRunning(dataDir))[0] ?? null
}

/** The fabrics that run on this folder, by log slot. */
export async function listRunning(dataDir: string): Promise<readonly RunningFabric[]> {
  return (await readStated(dataDir)).filter(({ pid }) => isAlive(pid))
}

/** A fabric that ended without taking its file away, or null. */
export async function findCrashed(dataDir: string): Promise<RunningFabric | null> {
  return (await readStated(dataDir)).find(({ pid }) => !isAlive(pid)) ?? null
}

/** Throws a Failure that states how to start one. */
export async function requireRunning(dataDir: string): Promise<RunningFabric> {
  const running = await findRunning(dataDir)
  if (running !== null) return running
  const crashed = await findCrashed(dataDir)
  const next = `start one with \`countersign up --data ${dataDir}\`, or name another folder by --data`
  const absent =
    crashed === null
      ? `no fabric is running on ${dataDir}`
      : `the fabric on ${dataDir} is not running: its process ${crashed.pid} is gone`
  throw new Failure('unreachable', absent, next)
}

function runningFile(dataDir: string, slot: string): string {
  return join(dataDir, slot === firstSlot ? DATA_FILES.running : `fabric-${slot}.json`)
}

export async function stateRunning(
  dataDir: string,
  { slot, ...facts }: RunningFabric,
): Promise<void> {
  await replaceFile(runningFile(dataDir, slot), `${JSON.stringify({ v: 1, ...facts })}\n`)
}

/** Only our own: another fabric may have taken the folder over meanwhile. */
export async function unstateRunning(
  dataDir: string,
  { pid, slot }: Pick<RunningFabric, 'pid' | 'slot'>,
): Promise<void> {
  const stated = await readOne(dataDir, slot)
  if (stated?.pid === pid) await rm(runningFile(dataDir, slot), { force: true })
}

/** Whole or not at all: readers never see half of it. */
export async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 })
  await rename(`${path}.new`, path)
}

async function readStated(dataDir: string): Promise<readonly RunningFabric[]> {
  const names = await readdir(dataDir).catch((error: unknown) => {
    if (isAbsent(error)) return []
    throw unusableFolder(dataDir, error)
  })
  const slots = names.flatMap((name) => {
    if (name === DATA_FILES.running) return [firstSlot]
    const slot = /^fabric-(.+)\.json$/.exec(name)?.[1]
    return isSlotName(slot) ? [slot] : []
  })
  const stated = slots.toSorted().map((slot) => readOne(dataDir, slot))
  return (await Promise.all(stated)).filter((each) => each !== null)
}

async function readOne(dataDir: string, slot: string): Promise<RunningFabric | null> {
  const text = await readIfPresent(runningFile(dataDir, slot)).catch((error: unknown) =>
    Promise.reject(unusableFolder(dataDir, error)),
  )
  if (text === null) return null
  const stated: unknown = parseJson(text)
  if (typeof stated !== 'object' || stated === null) return null
  const { origin, pid } = stated as { readonly origin?: unknown; readonly pid?: unknown }
  const isPid = typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0
  return typeof origin === 'string' && URL.canParse(origin) && isPid ? { origin, pid, slot } : null
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

function isAlive(pid: number): boolean {
  try {
    // Signal 0 asks without doing anything.
    process.kill(pid, 0)
    return true
  } catch (error) {
    // A process of another user is alive all the same.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

export async function readIfPresent(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (isAbsent(error)) return null
    throw error
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
