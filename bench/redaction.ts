import { InspectionWork } from '../packages/fabric/src/redaction/inspection-work.ts'
import { DATA_CLASSES } from '../packages/fabric/src/redaction/redactor.ts'
import { createRedactor } from '../packages/fabric/src/redaction/scan/create-redactor.ts'

/**
 * Long enough for the optimizer to settle and the clock to matter; short next to the other benches.
 */
const warmUpMs = 150
const measureMs = 500

const words =
  'the customer asked whether invoice could be sent again because account was moved last week please check order status and reply with summary of open items then close ticket'.split(
    ' ',
  )

/** Numbers that look random and are the same in every run. */
function createSequence(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** A tool call as agents send it: prose, identifiers, numbers, times; nothing sensitive. */
function createCall(id: number, below: (limit: number) => number): unknown {
  const hex = (count: number) =>
    Array.from({ length: count }, () => below(16).toString(16)).join('')
  const prose = (count: number) =>
    Array.from({ length: count }, () => words[below(words.length)]).join(' ')
  return {
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: {
      name: 'crm.lookup',
      arguments: {
        customer: `cus_${hex(14)}`,
        request: `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`,
        at: '2026-03-04T05:06:07.089Z',
        amount: below(100_000) / 100,
        count: below(50),
        note: `${prose(24)}.\n${prose(12)}`,
        tags: [prose(1), prose(1)],
        active: true,
      },
    },
  }
}

/** `sensitive` of ten calls carry an address, a card and a key. */
function createBody(bytes: number, sensitive: number): Uint8Array {
  const below = createSequence(bytes + sensitive)
  const calls: unknown[] = []
  let text = ''
  for (let id = 0; text.length < bytes; id++) {
    const call = createCall(id, below) as { params: { arguments: Record<string, unknown> } }
    if (id % 10 < sensitive) {
      call.params.arguments['contact'] = `person${id}@example.org`
      call.params.arguments['payment'] = 'card 4111 1111 1111 1111, expires soon'
    }
    calls.push(call)
    text = JSON.stringify(calls)
  }
  return new TextEncoder().encode(text)
}

/**
 * Megabytes of JSON inspected per second by one core, all classes on, by size of the body; `masked`
 * has something to mask in every tenth call and is spliced again.
 */
export function measureRedaction(): Promise<{ mbPerSecond: Record<string, number> }> {
  const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(1) })
  const order = { mask: DATA_CLASSES, block: [] }
  const bodies: Record<string, Uint8Array> = {
    'clean 1 KB': createBody(1_000, 0),
    'clean 8 KB': createBody(8_000, 0),
    'clean 64 KB': createBody(64_000, 0),
    'masked 1 KB': createBody(1_000, 1),
    'masked 8 KB': createBody(8_000, 1),
    'masked 64 KB': createBody(64_000, 1),
  }
  const mbPerSecond: Record<string, number> = {}
  for (const body of Object.values(bodies)) {
    runFor(warmUpMs, () => redactor.redact(body, json, order))
  }
  for (const [name, body] of Object.entries(bodies)) {
    const rate = runFor(measureMs, () => redactor.redact(body, json, order))
    mbPerSecond[name] = Math.round((rate * body.length) / 1e5) / 10
  }
  // The engine's own parser in the same run: what a second is worth on this machine.
  const text = new TextDecoder().decode(bodies['clean 64 KB'])
  const parsed = runFor(measureMs, () => JSON.parse(text) as unknown)
  mbPerSecond['JSON.parse 64 KB'] = Math.round((parsed * text.length) / 1e5) / 10
  return Promise.resolve({ mbPerSecond })
}
const json = 'application/json'

/** Calls per second of processor time, so that a busy machine does not count against the code. */
function runFor(ms: number, call: () => unknown): number {
  const start = performance.now()
  const used = process.cpuUsage()
  let calls = 0
  while (performance.now() - start < ms) {
    for (let i = 0; i < 10; i++) call()
    calls += 10
  }
  const { user, system } = process.cpuUsage(used)
  return (calls * 1e6) / (user + system)
}

/** Texts that cost most of all that we know, by what they make the detectors do. */
const costly: readonly (readonly [unit: string, contentType: string])[] = [
  ['password="', 'text/plain'],
  ['passwordsecrettoken', 'text/plain'],
  ['token:`', 'text/plain'],
  ['"password":"hunter22",', 'text/plain'],
  ['\\"password\\":\\"hunter22\\",', 'text/plain'],
  ['a@b.co ', 'text/plain'],
  ['4 ', 'text/plain'],
  ['4,1.', 'text/plain'],
  ['phone +1 212 555 0123 ', 'text/plain'],
  ['NDExMTEx', 'text/plain'],
  ['%2534', 'text/plain'],
  ['&a', 'application/x-www-form-urlencoded'],
  ['a=4111111111111111&', 'application/x-www-form-urlencoded'],
]

export interface WorstText {
  readonly microsecondsPerKb: number
  /**
   * A step is meant to be ten at worst: bounds on steps are bounds on time only as far as it is.
   */
  readonly nanosecondsPerStep: number
}

/** The most that 8 KB of any of the texts above cost. */
export function measureWorstText(): WorstText {
  const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(1) })
  let microsecondsPerKb = 0
  let nanosecondsPerStep = 0
  for (const [unit, contentType] of costly) {
    const body = Buffer.from(unit.repeat(Math.ceil(8_000 / unit.length)))
    const work = new InspectionWork(Number.POSITIVE_INFINITY)
    const inspect = (): unknown =>
      redactor.redact(body, contentType, { mask: DATA_CLASSES, block: [], work })
    inspect()
    const steps = work.spent
    runFor(warmUpMs, inspect)
    const microseconds = 1e6 / runFor(warmUpMs, inspect)
    microsecondsPerKb = Math.max(microsecondsPerKb, (microseconds * 1_000) / body.length)
    nanosecondsPerStep = Math.max(nanosecondsPerStep, (microseconds * 1_000) / steps)
  }
  return { microsecondsPerKb, nanosecondsPerStep }
}
