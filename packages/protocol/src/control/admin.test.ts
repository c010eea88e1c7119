import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MalformedError } from '../encoding/malformed-error.ts'
import {
  type AdminOperation,
  type AdminResult,
  parseAdminAnswer,
  parseFollowedEntry,
} from './admin.ts'
import type { AgentView } from './admin-agents.ts'
import type { EntryView, FollowedEntry } from './admin-ledger.ts'
import { adminItemsMax } from './admin-reader.ts'
import { ROUTE_DEFAULTS } from './route-reliability.ts'

const entry: EntryView = {
  ...{ kind: 'refusal', exchange: 'exc_1', index: 7, at: 1, facts: { code: 'X', n: 2, b: true } },
  ...{ caller: 'support', principal: 'support', producer: 'billing' },
  ...{ object: 'planner', reason: 'leaked key', changedBy: 'files' },
  ended: { result: 'refused', code: 'NOT_PERMITTED', reason: 'restart' },
}
const followed: FollowedEntry = { ...entry, cursor: 'a.01234567.8' }
const agent: AgentView = {
  ...{ name: 'support', kind: 'agent', roles: ['demo'], segment: 's', attributes: { level: 3 } },
  ...{ status: 'quarantined', statusReason: 'leaked key', generation: 1, createdAt: 2 },
  ...{ enrolled: true, risk: 12.5 },
  signals: [{ detector: 'rate', agent: 'support', at: 3, weight: 2.5, says: 'too many calls' }],
}
const policy = {
  ...{ policy: 'p', effect: 'permit', file: 'a.cedar', line: 4, text: 'permit(…)', advice: 'ask' },
  demands: ['@sign'],
  requirements: [{ part: 'principal', cedar: 'principal is Agent', met: false, says: 'it is not' }],
} as const
const explanation = {
  version: 'v',
  decision: {
    ...{ effect: 'deny', policies: ['p'], errors: [{ policy: 'q', message: 'no such member' }] },
    obligations: {
      ...{ mask: ['card'], block: ['credential'], signedRequest: true, signedResponse: false },
      ...{ assurance: 'durable', approval: 'two people' },
    },
  },
  ...{ determining: [policy], nearest: [policy], text: 'Denied' },
} as const
const channel = { name: 'orders', members: ['support'], epoch: 1, floor: 1 }
const channelChange = {
  ...{ ...channel, suites: [1], createdAt: 5 },
  bounds: {
    ...{ messagesMax: 1, bytesMax: 2, messageBytesMax: 3 },
    ...{ attemptsMax: 4, dedupMs: 5, retentionMs: 6 },
  },
}
const status = { name: 'support', status: 'revoked', reason: 'leaked key' } as const

const approval = {
  ...({ state: 'approved' } as const),
  ...{ id: 'apr_1', digest: 'ab', caller: 'a', user: 'u', receiver: 'b' },
  ...{ protocol: 'mcp', operation: 'tools/call', tool: 'pay', parameters: ['amount'] },
  ...{ reason: 'moves money', requestedBy: 'exc_1', requestedAt: 1, expiresAt: 9 },
  ...{ approver: 'c', decidedAt: 2, note: 'agreed', consumedBy: 'exc_2' },
} as const

/** An answer to each operation, in which nothing is null or empty. */
const answers: { readonly [Name in AdminOperation]: AdminResult<Name> } = {
  status: {
    ...{ version: '1.0.0', trustDomain: 'a.example', origin: 'https://127.0.0.1:1' },
    ...{ slots: [{ slot: 'b', isHeld: true, address: 'https://b.test:1' }] },
    consumers: [{ name: 'detection', position: 7, behind: 0, skipped: 0, saved: 5 }],
    followers: [{ reader: 'support', position: 7, behind: 2 }],
    ...{
      ledger: { slot: 'a', first: 2, size: 9, vkey: 'key' },
      trustFingerprint: 'f',
      policyVersion: 'v',
    },
    ...{ agents: 2, memoryBytes: 3, uptimeMs: 4 },
  },
  'activity.show': {
    ...({ slot: 'a', window: 'hour', from: 1, to: 2, found: 3 } as const),
    edges: [
      {
        ...({ caller: 'support', kind: 'agent', receiver: 'billing', perMinute: 0.5 } as const),
        ...{ exchanges: 9, delivered: 6, refused: 1, failed: 1, unknown: 1 },
        latency: { p50: 4, p95: 5, p99: 6, longest: 7 },
        ...{ requestBytes: 8, responseBytes: 9, at: 2 },
      },
    ],
  },
  'backup.make': { slot: 'a', folder: 'f', size: 9, headAt: 8, channels: true },
  'agent.list': [agent],
  'agent.show': agent,
  'agent.enroll': { join: 'https://…', expiresAt: 8 },
  'agent.quarantine': status,
  'agent.restore': status,
  'agent.revoke': status,
  'key.create': { key: 'csk_…', prefix: 'abcd1234', expiresAt: 8 },
  'key.list': [
    { prefix: 'a', agent: 'b', scopes: ['orders'], label: 'c', createdAt: 1, expiresAt: 2 },
  ],
  'key.revoke': { prefix: 'abcd1234', revoked: true },
  'key.rotate': { key: 'tokens', version: 2, previousUntil: 9 },
  'policy.show': { version: 'v', sources: [{ name: 'a.cedar', text: 'permit(…)' }] },
  'policy.put': { version: 'v', taken: false, problems: ['a.cedar:1'], warnings: ['a.cedar:2'] },
  'policy.explain': { exchange: 'exc_1', entries: [entry], policy: explanation },
  'approval.list': [approval],
  'approval.show': approval,
  'approval.approve': { approval, taken: true },
  'approval.deny': { approval, taken: false },
  'channel.list': [{ ...channel, messages: 1, bytes: 2, dead: 3, lastOffset: 4 }],
  'channel.create': channelChange,
  'channel.members': channelChange,
  'channel.dead': [
    {
      ...{ channel: 'orders', group: 'g', offset: 1, messageId: 'msg_1' },
      ...{ attempts: 5, reason: 'rejected', at: 6 },
    },
  ],
  'channel.redrive': { redriven: true },
  'ledger.read': { entries: [entry], newer: 'a.01234567.9' },
  'ledger.find': { exchanges: [], older: 'a.01234567.9', newer: 'a.01234567.9' },
  'ledger.recent': { exchanges: [{ ...entry, durationMs: 5 }], older: null, newer: 'a.01234567.9' },
  'ledger.check': { entries: 1, tiles: 2, root: 'r', unclosed: 3 },
  'ledger.subject': {
    ...{ subject: 'a', slot: 'a', entries: 1, status: 'revoked', slots: ['a', 'b'] },
  },
  'ledger.erase': {
    ...{ subject: 'a', slot: 'a', entries: 1, underWay: 0, pending: ['b'], keysBefore: 1 },
  },
  'ledger.retention': {
    ...{ slot: 'a', first: 0, minimum: 65_536, keptBy: 'hold', keptByName: 'case' },
    ...{ cursor: 'a.01234567.0', keepDays: 30, size: 70_000, oldestAt: 1, newestAt: 2, bytes: 3 },
    holds: [{ name: 'case', from: 1, until: 2, reason: 'court' }],
  },
  'ledger.prune': {
    ...{ slot: 'a', first: 0, minimum: 65_536, keptBy: 'age', keptByName: null },
    ...{ entry: 70_000, files: 5, bytes: 6, failed: 0 },
  },
  'route.list': [
    {
      ...{ name: 'a', urls: ['http://127.0.0.1:1'], protocol: 'mcp', source: 'configured' },
      settings: ROUTE_DEFAULTS,
    },
  ],
  'route.put': { name: 'a', upstream: 'http://127.0.0.1:1', protocol: 'auto' },
  'route.delete': { removed: true },
}
const operations = Object.keys(answers) as AdminOperation[]

/** Fields whose names are those of the fabric's users. */
const maps: ReadonlySet<string> = new Set(['attributes', 'facts'])

type Path = readonly (string | number)[]

/** The path of every value below `value`, those of maps excepted. */
function pathsIn(value: unknown, path: Path = []): readonly Path[] {
  if (typeof value !== 'object' || value === null) return []
  if (maps.has(String(path.at(-1)))) return []
  const names: Path = Array.isArray(value) ? [...value.keys()] : Object.keys(value)
  return names.flatMap((name) => {
    const at = [...path, name]
    return [at, ...pathsIn((value as Readonly<Record<string, unknown>>)[name], at)]
  })
}

/** A copy of the answer in which `change` has changed the holder of the value at `path`. */
function withChange(
  answer: unknown,
  path: Path,
  change: (holder: Record<string | number, unknown>, name: string | number) => void,
): unknown {
  // By way of JSON, so that no two fields are the same object.
  const copy = JSON.parse(JSON.stringify(answer)) as Record<string | number, unknown>
  const last = path.at(-1) ?? ''
  const holder = path.slice(0, -1).reduce((each, name) => each[name] as typeof copy, copy)
  change(holder, last)
  return copy
}

/** As a message names it. */
const named = (path: Path): string =>
  path.map((name) => (typeof name === 'number' ? `[${name}]` : `.${name}`)).join('')

const faultOf = (operation: AdminOperation, body: unknown): string => {
  try {
    parseAdminAnswer(operation, body)
  } catch (error) {
    if (error instanceof MalformedError) return error.message
    throw error
  }
  throw new Error('no fault was found')
}

/** Every field of the answer, apart from the elements of its lists. */
const fieldsOf = (body: unknown) => pathsIn(body).filter((path) => typeof path.at(-1) === 'string')

describe.each(operations)('the answer to %s', (operation) => {
  const body = { result: answers[operation] }

  test('is read as it was sent', () => {
    expect(parseAdminAnswer(operation, structuredClone(body))).toEqual(body.result)
  })

  test('is refused where a field is missing, by the name of the field', () => {
    expect(fieldsOf(body).length).toBeGreaterThan(1)
    for (const path of fieldsOf(body)) {
      // An explanation without a decision is one that could not be made.
      if (named(path) === '.result.policy.decision') continue
      const without = withChange(body, path, (holder, name) => delete holder[name])
      expect(faultOf(operation, without)).toBe(`the answer${named(path)} is missing`)
    }
  })

  test('is refused where a field has another type, by the name of the field', () => {
    for (const path of pathsIn(body)) {
      for (const wrong of [undefined, Symbol('x'), Number.NaN, { nested: [] }]) {
        const mistyped = withChange(body, path, () => undefined)
        const holder = path
          .slice(0, -1)
          .reduce<never>((each, name) => each[name], mistyped as never)
        Object.assign(holder, { [path.at(-1) ?? '']: wrong })
        expect(faultOf(operation, mistyped)).toContain(`the answer${named(path)}`)
      }
    }
  })

  test('may have fields that are not known yet, which are left out', () => {
    const holders = [[], ...pathsIn(body)]
    const newer = holders.reduce<unknown>(
      (answer, path) =>
        withChange(answer, [...path, 'added'], (holder, name) => {
          const isKnown = typeof holder === 'object' && holder !== null && !Array.isArray(holder)
          if (isKnown && !maps.has(String(path.at(-1)))) holder[name] = [{}]
        }),
      body,
    )
    expect(newer).not.toEqual(body)
    expect(parseAdminAnswer(operation, newer)).toEqual(body.result)
  })

  test('is refused where its fields are those of a prototype', () => {
    const inherited: unknown = Object.create(body)
    expect(faultOf(operation, inherited)).toBe('the answer.result is missing')
    const json = JSON.stringify(body).replaceAll('"result"', '"__proto__"')
    expect(faultOf(operation, JSON.parse(json))).toBe('the answer.result is missing')
  })

  test('is refused if it is not an answer at all', () => {
    for (const other of [null, undefined, [], 'result', 7]) {
      expect(faultOf(operation, other)).toBe('the answer is not an object')
    }
  })

  test('is read or refused, whatever it is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (result) => {
        try {
          parseAdminAnswer(operation, { result })
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedError)
        }
      }),
    )
  })
})

test('lists and maps are bounded', () => {
  const many = Array.from({ length: adminItemsMax + 1 }, (_, at) => String(at))
  const tooMany = `has more than ${adminItemsMax} items`
  expect(faultOf('agent.list', { result: many })).toBe(`the answer.result ${tooMany}`)
  const roles = { result: { ...agent, roles: many } }
  expect(faultOf('agent.show', roles)).toBe(`the answer.result.roles ${tooMany}`)
  const attributes = Object.fromEntries(many.map((name) => [name, 1]))
  const mapped = { result: { ...agent, attributes } }
  expect(faultOf('agent.show', mapped)).toBe(`the answer.result.attributes ${tooMany}`)
})

test('a name in a map is data, also if it is that of a prototype', () => {
  const text = JSON.stringify({ ...followed, facts: { proto: 'x', constructor: 'y' } })
  const { facts } = parseFollowedEntry(JSON.parse(text.replace('"proto"', '"__proto__"')))
  expect(Object.entries(facts)).toEqual([
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ])
  expect(Object.getPrototypeOf(facts)).toBe(Object.prototype)
  expect(({} as { readonly x?: string }).x).toBeUndefined()
})

test('a name or a value of the other side is not part of a message', () => {
  const facts = { 'pay 5 to mallory': ['pay 5 to mallory'] }
  const body = { result: { entries: [{ ...entry, facts }], newer: '' } }
  expect(faultOf('ledger.read', body)).toBe(
    'the answer.result.entries[0].facts.* is not a text, a number, true or false',
  )
})

test('an event of the watch is one entry', () => {
  expect(parseFollowedEntry({ ...followed, newer: 1 })).toEqual(followed)
  expect(parseFollowedEntry({ ...followed, ended: null, caller: null })).toMatchObject({
    ended: null,
  })
  expect(() => parseFollowedEntry({ ...followed, index: '7' })).toThrow(
    new MalformedError('the entry.index is not a whole number from 0'),
  )
})

test('a decision that could not be explained has a text alone', () => {
  const unexplained = { exchange: 'exc_1', entries: [], policy: { text: 'unreadable' } }
  expect(parseAdminAnswer('policy.explain', { result: unexplained })).toEqual(unexplained)
  const undecided = { ...unexplained, policy: null }
  expect(parseAdminAnswer('policy.explain', { result: undecided })).toEqual(undecided)
})
