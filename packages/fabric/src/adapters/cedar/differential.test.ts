import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { askOracle } from '../../../../../bench/policy-oracle.ts'
import type { CedarPolicy } from '../../policy/cedar-json.ts'
import { compilePolicy } from '../../policy/compile-policy.ts'
import type { PolicyRequest } from '../../policy/policy.ts'
import { type CompiledPolicySet, createPolicySet } from '../../policy/policy-set.ts'
import { POLICY_SCHEMA, RESOURCES_OF_ACTION } from '../../policy/schema.ts'

/** Sets of policies to generate; each is asked about several requests. More on demand. */
const runs = Number(process.env['COUNTERSIGN_DIFFERENTIAL_RUNS'] ?? 50)

function pick(...texts: readonly string[]): fc.Arbitrary<string> {
  return fc.constantFrom(...texts)
}

const names = ['a', 'b', 'ü*"']
const roles = ['reader', 'writer', 'constructor']
const segments = ['blue', 'red', '']
const quote = (text: string) => JSON.stringify(text)
const name = fc.constantFrom(...names).map(quote)
const role = fc.constantFrom(...roles).map(quote)
const segment = fc.constantFrom(...segments).map(quote)
const subjectType = pick('Agent', 'User', 'Channel', 'Fabric')
const tagKey = pick('"team"', '"level"', '"vip"', '"constructor"', '"__proto__"', '"none"')
const attributeName = pick('name', 'segment', 'numbers', 'flags', 'risk', 'labels', 'a', '"none"')
const entityLiteral = fc.oneof(
  fc.tuple(subjectType, name).map(([type, id]) => `${type}::${id}`),
  role.map((id) => `Role::${id}`),
  segment.map((id) => `Segment::${id}`),
  pick('Numbers::"Agent/a"', 'Flags::"Channel/b"', 'Numbers::"a"', 'Action::"call"', 'Other::"a"'),
)

function op(left: fc.Arbitrary<string>, word: string, right: fc.Arbitrary<string>) {
  return fc.tuple(left, right).map(([a, b]) => `((${a}) ${word} (${b}))`)
}

function method(left: fc.Arbitrary<string>, called: string, ...args: fc.Arbitrary<string>[]) {
  return fc
    .tuple(left, ...args)
    .map(([target, ...rest]) => `(${target}).${called}(${rest.join(', ')})`)
}

function construct(fn: string, ...literals: readonly string[]) {
  return pick(...literals).map((text) => `${fn}(${quote(text)})`)
}

const decimalTexts = [
  '0.0',
  '1.5',
  '-1.50',
  '1.5000',
  '922337203685477.5807',
  '922337203685477.5808',
  '-922337203685477.5808',
  '1',
  '1.23456',
  '.5',
  '-0.0001',
]
const ipTexts = [
  '10.0.0.1',
  '10.0.0.1/32',
  '10.0.0.0/8',
  '10.1.2.3/24',
  '127.0.0.1',
  '127.0.0.0/7',
  '224.0.0.1',
  '0.0.0.0/0',
  '::1',
  '::1/127',
  'ff02::1',
  'ff00::/7',
  '::/0',
  '1:2:3:4:5:6:7:8',
  '1::8',
  '::ffff:1.2.3.4',
  '01.2.3.4',
  '1.2.3',
  '1.2.3.4/33',
  '1:2:3:4:5:6:7::',
  '1::2::3',
  '10.0.0.1/08',
  '::1/0128',
  'FE80::a/64',
]
const datetimeTexts = [
  '1970-01-01',
  '2024-02-29',
  '2023-02-29',
  '2024-10-15T11:38:02Z',
  '2024-10-15T11:38:02.101Z',
  '2024-10-15T11:38:02.101-1134',
  '2024-10-15T11:38:02+0130',
  '2024-10-15T24:00:00Z',
  '2024-10-15T11:38:60Z',
  '0000-01-01',
  '9999-12-31T23:59:59.999-2359',
  '1969-12-31T23:59:59.999Z',
  '2024-1-1',
  '2024-10-15T11:38:02',
  '2024-10-15T11:38:02+2400',
  '2024-10-15T11:38:02-0060',
  '2024-10-15T11:38:02.1Z',
  '0050-03-01',
]
const durationTexts = [
  '0ms',
  '1d2h3m4s5ms',
  '-1d',
  '90m',
  '5ms',
  '1s',
  '',
  '-',
  '1',
  '1h1d',
  '9223372036854775807ms',
  '9223372036854775808ms',
  '-9223372036854775808ms',
  '106751991167d',
  '106751991168d',
  '1m5ms',
  '5m',
  'd',
]

/** Typed slots hold something of another type now and then, so that type errors are met as well. */
const { policyBody } = fc.letrec<Record<string, string>>((tie) => {
  const slot = (type: string) =>
    fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      { arbitrary: tie(type), weight: 14 },
      { arbitrary: tie('any'), weight: 1 },
    )
  const [bool, long, text, entity, set] = ['bool', 'long', 'text', 'entity', 'set'].map(slot) as [
    fc.Arbitrary<string>,
    fc.Arbitrary<string>,
    fc.Arbitrary<string>,
    fc.Arbitrary<string>,
    fc.Arbitrary<string>,
  ]
  const [record, decimal, ip, datetime, duration] = [
    'record',
    'decimal',
    'ip',
    'datetime',
    'duration',
  ].map(slot) as [
    fc.Arbitrary<string>,
    fc.Arbitrary<string>,
    fc.Arbitrary<string>,
    fc.Arbitrary<string>,
    fc.Arbitrary<string>,
  ]
  const any = tie('any')
  const choose = (of: fc.Arbitrary<string>) =>
    fc.tuple(bool, of, of).map(([i, t, e]) => `(if ${i} then ${t} else ${e})`)
  const nest = { depthSize: 'small', depthIdentifier: 'expression' } as const
  return {
    policyBody: fc.oneof({ arbitrary: tie('bool'), weight: 20 }, { arbitrary: any, weight: 1 }),
    any: fc.oneof(
      nest,
      tie('bool'),
      tie('long'),
      tie('text'),
      tie('entity'),
      tie('set'),
      tie('record'),
      tie('decimal'),
      tie('ip'),
      tie('datetime'),
      tie('duration'),
    ),
    bool: fc.oneof(
      nest,
      pick(
        'true',
        'false',
        'context.signed',
        'principal.flags.getTag("vip")',
        'principal == resource',
        'principal.segment == resource.segment',
        'context has risk',
        'context has none.a',
      ),
      op(bool, '&&', bool),
      op(bool, '||', bool),
      bool.map((x) => `!(${x})`),
      choose(bool),
      op(any, '==', any),
      op(any, '!=', any),
      op(long, '==', long),
      op(text, '==', text),
      op(entity, '==', entity),
      op(set, '==', set),
      op(record, '==', record),
      op(decimal, '==', decimal),
      op(ip, '==', ip),
      op(datetime, '==', datetime),
      op(duration, '==', duration),
      ...['<', '<=', '>', '>='].flatMap((word) => [
        op(long, word, long),
        op(datetime, word, datetime),
        op(duration, word, duration),
      ]),
      op(entity, 'in', entity),
      op(entity, 'in', set),
      fc
        .tuple(entity, fc.oneof(subjectType, pick('Role', 'Action', 'Other')))
        .map(([e, t]) => `((${e}) is ${t})`),
      fc.tuple(entity, subjectType, entity).map(([e, t, g]) => `((${e}) is ${t} in (${g}))`),
      fc.tuple(fc.oneof(entity, record), attributeName).map(([e, a]) => `((${e}) has ${a})`),
      fc
        .tuple(
          fc.oneof(entity, record),
          pick('a.b', 'segment.name', 'numbers.a', 'a.name', 'name.a'),
        )
        .map(([e, a]) => `((${e}) has ${a})`),
      fc
        .tuple(
          text,
          pick(
            '"*"',
            '"a*"',
            '"*a"',
            '"*a*b*"',
            '""',
            '"a"',
            '"\\*"',
            '"ü*"',
            '"*/*"',
            '"aa*a"',
            '"*\\**"',
          ),
        )
        .map(([t, p]) => `((${t}) like ${p})`),
      method(set, 'contains', any),
      method(set, 'contains', text),
      method(set, 'containsAll', set),
      method(set, 'containsAny', set),
      method(set, 'isEmpty'),
      method(entity, 'hasTag', fc.oneof(tagKey, text)),
      ...['lessThan', 'lessThanOrEqual', 'greaterThan', 'greaterThanOrEqual'].map((called) =>
        method(decimal, called, decimal),
      ),
      ...['isIpv4', 'isIpv6', 'isLoopback', 'isMulticast'].map((called) => method(ip, called)),
      method(ip, 'isInRange', ip),
    ),
    long: fc.oneof(
      nest,
      pick(
        '0',
        '1',
        '50',
        '-7',
        '9007199254740991',
        '-9007199254740991',
        'context.risk',
        'context.time',
        'context.weekday',
        'principal.numbers.getTag("level")',
      ),
      op(long, '+', long),
      op(long, '-', long),
      op(long, '*', long),
      long.map((x) => `-(${x})`),
      choose(long),
      fc.tuple(entity, tagKey).map(([e, k]) => `(${e}).numbers.getTag(${k})`),
      ...['toMilliseconds', 'toSeconds', 'toMinutes', 'toHours', 'toDays'].map((called) =>
        method(duration, called),
      ),
    ),
    text: fc.oneof(
      nest,
      pick(
        '""',
        '"a"',
        '"ab"',
        '"ü*"',
        '"blue"',
        '"GET"',
        'context.operation',
        'context.tool',
        'context.transport',
        'principal.name',
        'principal.getTag("team")',
      ),
      fc.tuple(entity, fc.oneof(tagKey, text)).map(([e, k]) => `(${e}).getTag(${k})`),
      entity.map((e) => `(${e}).name`),
      choose(text),
    ),
    entity: fc.oneof(
      nest,
      pick(
        'principal',
        'resource',
        'action',
        'principal.segment',
        'resource.numbers',
        'principal.flags',
      ),
      entityLiteral,
      choose(entity),
      fc
        .tuple(
          entity,
          attributeName.filter((a) => !a.startsWith('"')),
        )
        .map(([e, a]) => `(${e}).${a}`),
    ),
    set: fc.oneof(
      nest,
      pick('[]', 'context.labels', '["a", "b", "a"]', '[1, 2]', '[principal, resource]'),
      fc.array(any, { maxLength: 4 }).map((items) => `[${items.join(', ')}]`),
      fc.array(entity, { maxLength: 3 }).map((items) => `[${items.join(', ')}]`),
      choose(set),
    ),
    record: fc.oneof(
      nest,
      pick('context', '{}'),
      fc.tuple(any, any).map(([a, b]) => `{ a: ${a}, "b c": ${b} }`),
      any.map((a) => `{ "__proto__": ${a} }`),
      fc.tuple(record, any).map(([a, b]) => `{ a: ${a}, name: ${b} }`),
      choose(record),
    ),
    decimal: fc.oneof(
      nest,
      construct('decimal', ...decimalTexts),
      text.map((t) => `decimal(${t})`),
    ),
    ip: fc.oneof(
      nest,
      construct('ip', ...ipTexts),
      text.map((t) => `ip(${t})`),
    ),
    datetime: fc.oneof(
      nest,
      construct('datetime', ...datetimeTexts),
      pick('context.now'),
      method(datetime, 'offset', duration),
      method(datetime, 'toDate'),
    ),
    duration: fc.oneof(
      nest,
      construct('duration', ...durationTexts),
      method(datetime, 'durationSince', datetime),
      method(datetime, 'toTime'),
    ),
  }
})

function subjectScope(side: 'principal' | 'resource'): fc.Arbitrary<string> {
  return fc.oneof(
    { arbitrary: fc.constant(side), weight: 10 },
    fc.tuple(subjectType, name).map(([type, id]) => `${side} == ${type}::${id}`),
    fc
      .oneof(
        role.map((id) => `Role::${id}`),
        segment.map((id) => `Segment::${id}`),
        entityLiteral,
      )
      .map((e) => `${side} in ${e}`),
    subjectType.map((type) => `${side} is ${type}`),
    fc.tuple(subjectType, entityLiteral).map(([type, e]) => `${side} is ${type} in ${e}`),
  )
}

const actionScope = fc.oneof(
  { arbitrary: fc.constant('action'), weight: 8 },
  pick('call', 'read').map((id) => `action == Action::"${id}"`),
  pick('call', 'publish').map((id) => `action in Action::"${id}"`),
  fc
    .subarray(['call', 'publish', 'consume', 'read'])
    .map((ids) => `action in [${ids.map((id) => `Action::"${id}"`).join(', ')}]`),
)

const policyText = fc
  .tuple(
    pick('permit', 'permit', 'forbid'),
    subjectScope('principal'),
    actionScope,
    subjectScope('resource'),
    fc.array(fc.tuple(pick('when', 'unless'), policyBody ?? fc.constant('true')), { maxLength: 2 }),
  )
  .map(([effect, principal, action, resource, clauses]) => {
    const conditions = clauses.map(([kind, body]) => ` ${kind} { ${body} }`).join('')
    return `${effect}(${principal}, ${action}, ${resource})${conditions};`
  })

const attributes = fc.record(
  {
    team: fc.constantFrom('a', 'ab', 'GET', 7, true),
    level: fc.constantFrom(0, 3, -9007199254740991, 'a'),
    vip: fc.constantFrom(true, false, 'a'),
    constructor: fc.constantFrom('a', 1),
  },
  { requiredKeys: [] },
)

/**
 * One directory for a whole case: an agent that is principal and resource is one entity in Cedar.
 */
const directory = fc.array(
  fc.record({
    roles: fc.array(fc.constantFrom(...roles), { maxLength: 3 }),
    segment: fc.constantFrom(...segments),
    attributes,
  }),
  { minLength: 12, maxLength: 12 },
)
const kinds = ['agent', 'user', 'channel', 'fabric'] as const

const requestShape = fc.record({
  principalKind: fc.constantFrom(...(['agent', 'agent', 'user'] as const)),
  principalName: fc.nat(2),
  resourcePick: fc.nat(5),
  resourceName: fc.nat(2),
  action: fc.constantFrom(
    ...(['call', 'call', 'publish', 'consume', 'read', 'record', 'administer'] as const),
  ),
  context: fc.record({
    transport: fc.constantFrom(...(['gateway', 'mesh', 'queue'] as const)),
    protocol: fc.constantFrom(...(['a2a', 'mcp', 'http'] as const)),
    operation: fc.constantFrom('GET', 'tools/call', 'a', ''),
    tool: fc.constantFrom('', 'a', 'refund', 'ü*'),
    method: fc.constantFrom(...(['certificate', 'token', 'api-key'] as const)),
    signed: fc.boolean(),
    risk: fc.integer({ min: 0, max: 100 }),
    labels: fc.array(fc.constantFrom('a', 'b', 'GET'), { maxLength: 3 }),
    time: fc.integer({ min: -90_000, max: 4_000_000_000 }),
  }),
})

type Directory = typeof directory extends fc.Arbitrary<infer T> ? T : never
type Shape = typeof requestShape extends fc.Arbitrary<infer T> ? T : never

function elementOf<Element>(list: readonly Element[], index: number): Element {
  const element = list[index]
  if (element === undefined) throw new RangeError(`no element ${index}`)
  return element
}

function toRequest(known: Directory, shape: Shape): PolicyRequest {
  const subject = <Kind extends (typeof kinds)[number]>(kind: Kind, index: number) => {
    const data = elementOf(known, kinds.indexOf(kind) * names.length + index)
    return {
      kind,
      name: elementOf(names, index),
      ...data,
      attributes: { ...data.attributes } as Record<string, string | number | boolean>,
    }
  }
  const resources = RESOURCES_OF_ACTION[shape.action]
  return {
    principal: subject(shape.principalKind, shape.principalName),
    action: shape.action,
    resource: subject(
      elementOf(resources, shape.resourcePick % resources.length),
      shape.resourceName,
    ),
    context: shape.context,
  }
}

function compile(texts: readonly string[]): CompiledPolicySet {
  const policies = texts.map((text, ordinal) => {
    const answer = cedar.policyToJson(text)
    if (answer.type === 'failure') throw new Error(`${text}: ${answer.errors[0]?.message}`)
    const origin = { file: 'generated.cedar', line: 1, text }
    return compilePolicy(
      answer.json as unknown as CedarPolicy,
      { id: `p${ordinal}`, ordinal, origin },
      [],
    )
  })
  return createPolicySet({ version: '', policies, sources: [], warnings: [] })
}

/** Cedar's answer under our one stricter rule: a forbid that fails denies. */
function expected(texts: readonly string[], request: PolicyRequest) {
  const byId = Object.fromEntries(texts.map((text, i) => [`p${i}`, text]))
  const answer = askOracle(cedar, byId, request)
  const failedForbids = answer.errors.filter((id) => byId[id]?.startsWith('forbid'))
  const fired = answer.effect === 'deny' ? answer.policies : []
  const strict = failedForbids.length > 0
  return {
    effect: strict ? 'deny' : answer.effect,
    policies: (strict ? [...fired, ...failedForbids] : answer.policies).toSorted(),
    errors: answer.errors.toSorted(),
  }
}

/** Asks about many permits at once: of each whether it holds, or fails. */
function outcomes(texts: readonly string[], known: Directory, shape: Shape) {
  const request = toRequest(known, shape)
  const ours = compile(texts).decide(request)
  const theirs = expected(texts, request)
  const outcome = (permits: readonly string[], failing: readonly string[]) =>
    Object.fromEntries(
      texts.map((text, i) => [
        text,
        failing.includes(`p${i}`) ? 'fails' : permits.includes(`p${i}`),
      ]),
    )
  return {
    ours: outcome(
      ours.policies,
      ours.errors.map(({ policy }) => policy),
    ),
    theirs: outcome(theirs.policies, theirs.errors),
  }
}

function pairs(texts: readonly string[], write: (a: string, b: string) => string): string[] {
  return texts.flatMap((a) => texts.map((b) => write(a, b)))
}

/** Every spelling at the edge of each extension type, alone and next to every other. */
const extensionPolicies = [
  ...['isIpv4', 'isIpv6', 'isLoopback', 'isMulticast'].flatMap((called) =>
    ipTexts.map((text) => `ip("${text}").${called}()`),
  ),
  ...ipTexts.flatMap((ip) =>
    ipTexts
      .filter((network) => network.includes('/'))
      .map((network) => `ip("${ip}").isInRange(ip("${network}"))`),
  ),
  ...pairs(decimalTexts, (a, b) => `decimal("${a}").lessThan(decimal("${b}"))`),
  ...datetimeTexts.flatMap((at) => [
    `datetime("${at}").toDate() == datetime("${at}")`,
    ...durationTexts.map(
      (by) => `datetime("${at}").offset(duration("${by}")).toTime() < duration("12h")`,
    ),
  ]),
  ...['toMilliseconds', 'toSeconds', 'toMinutes', 'toHours', 'toDays'].flatMap((called) =>
    durationTexts.flatMap((text) =>
      [-1, 0, 1].map((n) => `duration("${text}").${called}() == ${n}`),
    ),
  ),
].map((body) => `permit(principal, action, resource) when { ${body} };`)

describe('our compiler compared with cedar-wasm', () => {
  test('agrees on every edge of decimal, ipaddr, datetime and duration', () => {
    const [known] = fc.sample(directory, { numRuns: 1, seed: 1 })
    const [shape] = fc.sample(requestShape, { numRuns: 1, seed: 1 })
    if (known === undefined || shape === undefined) throw new Error('no request was generated')
    const seen = new Set<unknown>()
    for (let from = 0; from < extensionPolicies.length; from += 100) {
      const { ours, theirs } = outcomes(extensionPolicies.slice(from, from + 100), known, shape)
      expect(ours).toEqual(theirs)
      for (const outcome of Object.values(ours)) seen.add(outcome)
    }
    expect(seen).toEqual(new Set([true, false, 'fails']))
  })

  test('takes every permit of a large set as Cedar takes it', () => {
    fc.assert(
      fc.property(
        fc.array(policyText, { minLength: 60, maxLength: 60 }),
        directory,
        requestShape,
        (texts, known, shape) => {
          const permits = texts.map((text) => text.replace(/^forbid/, 'permit'))
          const { ours, theirs } = outcomes(permits, known, shape)
          expect(ours).toEqual(theirs)
        },
      ),
      { numRuns: Math.ceil(runs / 3) },
    )
  })

  test('gives the same effect, the same determining policies and the same failing policies [authorize:same-as-cedar]', () => {
    const seen = { permit: 0, deny: 0, errors: 0 }
    fc.assert(
      fc.property(
        fc.array(policyText, { minLength: 1, maxLength: 6 }),
        directory,
        fc.array(requestShape, { minLength: 3, maxLength: 3 }),
        (texts, known, shapes) => {
          const set = compile(texts)
          for (const shape of shapes) {
            const request = toRequest(known, shape)
            const { effect, policies, errors } = set.decide(request)
            const ours = {
              effect,
              policies: policies.toSorted(),
              errors: errors.map(({ policy }) => policy).toSorted(),
            }
            expect(ours).toEqual(expected(texts, request))
            seen[effect]++
            if (errors.length > 0) seen.errors++
          }
        },
      ),
      { numRuns: runs },
    )
    // A generator that never permits, or never fails, would prove nothing.
    expect(Math.min(seen.permit, seen.deny, seen.errors)).toBeGreaterThan(0)
  })

  test('a policy that passes strict validation fails by arithmetic, or by what a literal is asked', () => {
    let valid = 0
    fc.assert(
      fc.property(policyText, directory, requestShape, (text, known, shape) => {
        const verdict = cedar.validate({
          schema: POLICY_SCHEMA,
          policies: { staticPolicies: text },
        })
        if (verdict.type === 'failure' || verdict.validationErrors.length > 0) return
        valid++
        const { errors } = compile([text]).decide(toRequest(known, shape))
        // Nothing is known of an entity that is spelt out, unless the request is about it.
        const asksLiteral = /(?:Agent|User|Channel|Fabric|Numbers|Flags)::"/.test(text)
        const reasons = asksLiteral ? /64 bits|nothing is known of|has no tag/ : /64 bits/
        for (const { message } of errors) expect(message).toMatch(reasons)
      }),
      { numRuns: runs },
    )
    expect(valid).toBeGreaterThan(0)
  })
})
