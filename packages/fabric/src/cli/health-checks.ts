import { X509Certificate } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { FormerFormatError, parseTrust, trustFingerprint } from '@countersign/protocol'
import type { Config, MasterKeyPlace } from '../config/config.ts'
import { isInside } from '../lib/named-path.ts'
import { DATA_FILES, findCrashed, findRunning, listRunning, readIfPresent } from './data-folder.ts'
import { toFailure } from './failure.ts'
import { checkLedger, checkLedgerLock } from './ledger-checks.ts'
import { formatCount, formatTime } from './output/quantities.ts'
import { type Finding, fail, ok, type Patient, type Verdict, warn } from './verdict.ts'

export type { Finding } from './verdict.ts'

/**
 * Each looks at one thing and changes nothing. A check that throws could not look at its subject.
 */
export const HEALTH_CHECKS: readonly (readonly [
  name: string,
  check: (patient: Patient) => Verdict | Promise<Verdict>,
])[] = [
  ['node', checkNode],
  ['data folder', ({ config }) => checkDataFolder(config.dataDir)],
  ['master key', ({ config }) => checkMasterKey(config.masterKey, config.dataDir)],
  ['secrets', ({ config }) => checkSecrets(config)],
  ['fabric', ({ config }) => checkRunning(config.dataDir)],
  ['ledger lock', ({ config }) => checkLedgerLock(config.dataDir)],
  ['ledger', checkLedger],
  ['trust', ({ config }) => checkTrust(config.dataDir)],
  ['port', ({ config }) => checkPort(config)],
  ['clock', checkClock],
  ['policies', ({ config }) => checkPolicies(config.policyDir)],
  ['root certificate', checkRoot],
  ['optional engines', checkEngines],
]

export async function examine(patient: Patient): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  for (const [name, check] of HEALTH_CHECKS) {
    try {
      findings.push({ name, ...(await check(patient)) })
    } catch (error) {
      const { exit, message, next } = toFailure(error)
      // An error without a message of ours is a fault of ours, whose stack is less useful to an
      // operator than its message.
      const says = exit === 'internal' && error instanceof Error ? error.message : message
      findings.push({ name, ...fail(says, next) })
    }
  }
  return findings
}

function checkNode(): Verdict {
  const { node, openssl } = process.versions
  const [major = 0] = node.split('.').map(Number)
  if (major < 24) return fail(`${node} is too old`, 'install Node 24 or newer')
  const [opensslMajor = 0, opensslMinor = 0] = openssl.split('.').map(Number)
  if (opensslMajor > 3 || (opensslMajor === 3 && opensslMinor >= 5)) {
    return ok(`${node} with OpenSSL ${openssl}`)
  }
  const next = 'use a Node built with OpenSSL 3.5 or newer'
  return warn(`OpenSSL ${openssl} has no hybrid post-quantum key exchange`, next)
}

async function checkDataFolder(dataDir: string): Promise<Verdict> {
  const found = await stat(dataDir).catch(ignoreAbsence)
  if (found === null) return ok(`${dataDir} will be made by \`countersign up\``)
  if (!found.isDirectory()) return fail(`${dataDir} is not a folder`, 'name another one by --data')
  if (process.platform === 'win32' || (found.mode & 0o077) === 0) {
    return ok(`${dataDir}, for this user alone`)
  }
  return fail(`other users can look into ${dataDir}`, `chmod 700 ${dataDir}`)
}

function ignoreAbsence(error: unknown): null {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
  throw error
}

async function checkMasterKey(place: MasterKeyPlace, dataDir: string): Promise<Verdict> {
  if (place.from === 'environment') return ok('from the environment')
  if (place.from === 'keyring') return ok(`in the keyring of the system, as ${place.account}`)
  if (isInside(place.path, dataDir)) {
    const next =
      'name a place outside of it by masterKey.path, and move the file: every backup carries the key'
    return fail(`${place.path} lies inside the data folder that it protects`, next)
  }
  const found = await stat(place.path).catch(ignoreAbsence)
  if (found === null) {
    const kept = await readdir(join(dataDir, 'secrets')).catch(() => [])
    if (kept.length > 0) {
      const next = 'restore it from where you keep it; without it the secrets here cannot be opened'
      return fail(`${place.path} is missing`, next)
    }
    if (place.from === 'key-file') return ok(`${place.path} will be made by \`countersign up\``)
    return fail(`${place.path} does not exist`, 'write the passphrase there, readable by you alone')
  }
  if (process.platform !== 'win32' && (found.mode & 0o077) !== 0) {
    return fail(`other users can read ${place.path}`, `chmod 600 ${place.path}`)
  }
  return ok(place.path.replace(homedir(), '~'))
}

async function checkSecrets(config: Config): Promise<Verdict> {
  const { inspectSecrets } = await import('../compose/secrets.ts')
  try {
    const count = await inspectSecrets(config)
    if (count === null) return ok('will be made by `countersign up`')
    return ok(`${formatCount(count, 'secret')}, each opened by the master key`)
  } catch (error) {
    if (toFailure(error).exit !== 'internal' || !(error instanceof Error)) throw error
    return fail(error.message, 'see "Start failures" in docs/operate/recover.md')
  }
}

async function checkRunning(dataDir: string): Promise<Verdict> {
  const running = await listRunning(dataDir)
  if (running.length > 0) {
    const each = running.map(
      ({ origin, pid, slot }) => `at ${origin}, process ${pid}, log slot ${slot}`,
    )
    return ok(`running ${each.join('; ')}`)
  }
  if ((await findCrashed(dataDir)) === null) return ok('not running')
  return warn('it ended without stopping in order', 'start it again; it closes what was under way')
}

/** The fingerprint that auditors compare with the file that they pinned. */
async function checkTrust(dataDir: string): Promise<Verdict> {
  const text = await readIfPresent(join(dataDir, DATA_FILES.trust))
  if (text === null) return ok('will be made by `countersign up`')
  try {
    return ok(await trustFingerprint(parseTrust(text)))
  } catch (error) {
    const next =
      'start the fabric, which writes it anew, and compare the fingerprint that it prints'
    const isFormer = error instanceof FormerFormatError
    const what = isFormer ? 'is of an earlier version of the format' : 'is not a trust file'
    return fail(`${DATA_FILES.trust} ${what}`, next)
  }
}

async function checkPort({ dataDir, listen }: Config): Promise<Verdict> {
  const where = `${listen.host}:${listen.port}`
  const running = await findRunning(dataDir)
  if (running !== null && new URL(running.origin).port === String(listen.port)) {
    return ok(`${where} is held by this fabric`)
  }
  const fault = await new Promise<Error | null>((resolve) => {
    const server = createServer()
    server.once('error', resolve)
    server.listen(listen.port, listen.host, () => server.close(() => resolve(null)))
  })
  if (fault === null) return ok(`${where} is free`)
  const { message, next } = toFailure(fault)
  return fail(`${where} cannot be listened on: ${message}`, next)
}

/** Certificates live minutes; a day into the future and nothing verifies any more. */
const skewMsMax = 60_000

async function checkClock({ config: { dataDir }, clock }: Patient): Promise<Verdict> {
  const now = clock.now()
  const names = await readdir(dataDir).catch(() => [])
  const times = await Promise.all(
    names.map(async (name) => (await stat(join(dataDir, name))).mtimeMs),
  )
  const newest = Math.max(0, ...times)
  if (newest <= now + skewMsMax) return ok(formatTime(now))
  const says = `it says ${formatTime(now)}, but files here are of ${formatTime(newest)}`
  const next = 'set the clock of this machine, best by NTP; if it is right now, see docs/operate'
  // Files stay as they are when the operator accepts the clock; the ledger then has the last word.
  return names.some((name) => name === 'ledger') ? warn(says, next) : fail(says, next)
}

async function checkPolicies(policyDir: string): Promise<Verdict> {
  if ((await stat(policyDir).catch(() => null)) === null) {
    return ok(`${policyDir} will be made at the start`)
  }
  const { checkPolicyFolder } = await import('../compose/policy-check.ts')
  const { policies, problems, warnings } = await checkPolicyFolder(policyDir)
  const [problem] = problems
  if (problem !== undefined) {
    return fail(
      `${formatCount(problems.length, 'problem')}: ${problem}`,
      'see `countersign policy check`',
    )
  }
  if (policies === 0) return warn('there is none, so everything is denied', 'see docs/policy.md')
  const count = formatCount(policies, 'policy', 'policies')
  if (warnings.length === 0) return ok(`${count}, all valid`)
  return warn(
    `${count}, with ${formatCount(warnings.length, 'warning')}`,
    'see `countersign policy check`',
  )
}

const dayMs = 86_400_000
/** Time to roll a root over without hurry. */
const rootDaysMin = 90

async function checkRoot({ config: { dataDir }, clock }: Patient): Promise<Verdict> {
  const pem = await readIfPresent(join(dataDir, DATA_FILES.root))
  if (pem === null) return ok('will be made by `countersign up`')
  const expiresAt = Date.parse(new X509Certificate(pem).validTo)
  const days = Math.floor((expiresAt - clock.now()) / dayMs)
  if (days < 0)
    return fail(`expired ${-days} days ago`, 'start a new data folder, or restore the clock')
  const says = `good for ${formatCount(days, 'day')}, until ${formatTime(expiresAt)}`
  return days < rootDaysMin ? warn(says, 'plan its rotation; see docs/operate') : ok(says)
}

/** Engines beyond the embedded ones are optional peers of the package. */
async function checkEngines(): Promise<Verdict> {
  const manifest = new URL('../../package.json', import.meta.url)
  const parsed: unknown = JSON.parse(await readFile(manifest, 'utf8'))
  const { peerDependencies = {} } = parsed as {
    peerDependencies?: Readonly<Record<string, string>>
  }
  const names = Object.keys(peerDependencies)
  if (names.length === 0) return ok('none are needed: state, channels and ledger are embedded')
  const present = names.filter((name) => isInstalled(name))
  const missing = names.filter((name) => !present.includes(name))
  const says = [
    present.length === 0 ? '' : `installed: ${present.join(', ')}`,
    missing.length === 0 ? '' : `not installed: ${missing.join(', ')}`,
  ]
  return ok(says.filter((part) => part !== '').join('; '))
}

function isInstalled(name: string): boolean {
  try {
    return dirname(import.meta.resolve(name)) !== ''
  } catch {
    return false
  }
}
