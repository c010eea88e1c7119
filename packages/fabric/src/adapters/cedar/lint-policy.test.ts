import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OPERATION_NAMES } from '../../compose-policies.ts'
import { compilePolicies } from '../../policy/compile-policies.ts'
import type { PolicyRequest } from '../../policy/policy.ts'
import { parseInWasm } from './parse-in-wasm.ts'

const compilation = {
  parser: {
    parse: async (schema: string, texts: readonly string[]) => parseInWasm(cedar, schema, texts),
  },
  dataClasses: [],
  operations: OPERATION_NAMES,
}

const compile = (text: string) => compilePolicies([{ name: 'a.cedar', text }], compilation)

async function warningsOf(text: string): Promise<string> {
  const { warnings } = await compile(text)
  return warnings.map(({ message, help }) => `${message}; ${help}`).join('\n')
}

const when = (condition: string, effect = 'permit', scope = 'principal, action, resource') =>
  `${effect}(${scope}) when { ${condition} };`
const call = 'principal, action == Action::"call", resource'

describe('a condition that no request can meet is reported', () => {
  test.each([
    ['a value outside a closed set', when('context.protocol == "grcp"')],
    ['a value outside a closed set, on the other side', when('"kafka" == context.transport')],
    ['a list outside a closed set', when('["jwt", "key"].contains(context.method)')],
    ['a pattern that fits no value', when('context.transport like "Gate*"')],
    [
      'a transport that the action does not use',
      when('context.transport == "queue"', 'permit', call),
    ],
    [
      'a protocol that the action does not use',
      when('context.protocol == "admin"', 'permit', call),
    ],
    ['a risk above its scale', when('context.risk > 100', 'forbid')],
    ['a risk below its scale', when('context.risk < 0', 'forbid')],
    ['a day that no week has', when('context.weekday == 0')],
    ['an interval without numbers', when('context.risk >= 80 && context.risk < 20')],
    [
      'an interval over two clauses',
      'permit(principal, action, resource) when { context.risk > 50 } unless { context.risk > 10 };',
    ],
    ['one number out of two', when('context.weekday == 1 && context.weekday == 2')],
    ['two names at once', when('context.tool == "a" && context.tool == "b"')],
    [
      'two principals at once',
      when('principal == Agent::"b"', 'permit', 'principal == Agent::"a", action, resource'),
    ],
    ['two segments at once', when('principal in Segment::"a" && principal in Segment::"b"')],
    [
      'a segment beside the one of the scope',
      when(
        'principal.segment == Segment::"b"',
        'permit',
        'principal in Segment::"a", action, resource',
      ),
    ],
    ['a test and its opposite', when('principal in Role::"a" && !(principal in Role::"a")')],
    ['a flag and its opposite', when('context.signed && !context.signed')],
    ['every alternative', when('context.method == "jwt" || context.method == "basic"')],
    [
      'what unless leaves nothing of',
      'permit(principal, action, resource) unless { context.risk <= 100 };',
    ],
    ['a nested contradiction', when('!(context.risk < 50 || context.risk >= 50)')],
  ])('%s', async (_, text) => {
    expect(await warningsOf(text)).toMatch(/never matches: no request meets/)
  })

  test('and so is one of several alternatives', async () => {
    const warnings = await warningsOf(when('context.method == "token" || context.method == "jwt"'))
    expect(warnings).toContain('no request meets context.method == "jwt"')
    expect(warnings).not.toContain('never matches')
  })
})

const publish = 'principal, action == Action::"publish", resource'
const ofCall = (condition: string, scope = call) => when(condition, 'forbid', scope)

describe('a forbid that no request of its action meets is reported', () => {
  test.each([
    ['labels of a call', ofCall('context.labels.contains("pii")')],
    ['one of several labels of a call', ofCall('context.labels.containsAny(["pii"])')],
    ['all of several labels of a call', ofCall('context.labels.containsAll(["pii", "x"])')],
    ['exact labels of a call', ofCall('context.labels == ["pii"]')],
    ['labels of a call, by their absence', ofCall('!context.labels.isEmpty()')],
    ['the owner of a task, of a call', ofCall('context.taskOwner == "shop"')],
    [
      'an operation of another protocol',
      ofCall('context.protocol == "mcp" && context.operation == "SendMessage"'),
    ],
    ['a tool of A2A', ofCall('context.protocol == "a2a" && context.tool == "delete"')],
    ['a tool of plain HTTP', ofCall('context.operation == "POST" && context.tool == "delete"')],
    ['an operation of channels, of a call', ofCall('context.operation == "publish"')],
    ['an operation of a call, of channels', ofCall('context.operation == "POST"', publish)],
    ['an operation of administration, of a call', ofCall('context.operation == "agent.list"')],
    ['an operation that reads own data, of a call', ofCall('context.operation == "own.receipt"')],
    ['a tool, of a channel', ofCall('context.tool == "x"', publish)],
    [
      'the mesh, where connectors record',
      ofCall('context.transport == "mesh"', 'principal, action == Action::"record", resource'),
    ],
    [
      'MCP through a channel',
      ofCall(
        '["mcp"].contains(context.protocol)',
        'principal, action == Action::"consume", resource',
      ),
    ],
    ['a time in milliseconds', ofCall('context.time > 1767276000000')],
    ['a time before all', ofCall('context.now < datetime("1970-01-01")')],
    ['an hour that no day has', ofCall('context.now.toTime() > duration("25h")')],
    [
      'an empty interval of time',
      ofCall('context.now < datetime("2026-01-01") && context.now > datetime("2027-01-01")'),
    ],
  ])('%s', async (_, text) => {
    expect(await warningsOf(text)).toMatch(/never matches: no request meets/)
  })

  test.each([
    ['an operation in other letters', 'context.operation like "Tools/*"', '"Tools/*"'],
    ['an operation of another action', 'context.operation like "agent.*"', '"agent.*"'],
    ['a misspelt operation', 'context.operation like "sendmesage*"', '"sendmesage*"'],
    ['a name in capitals', 'principal.name == "Shop"', '"Shop"'],
    ['the beginning of a name in capitals', 'principal.name like "Shop*"', '"Shop*"'],
    ['a name of 64 characters', `principal.name == "${'a'.repeat(64)}"`, '"aaaa'],
    ['a reserved name', 'resource == Agent::"fabric"', 'Agent::"fabric" cannot exist'],
    ['another reserved name', 'principal == Agent::"gateway"', 'Agent::"gateway" cannot exist'],
  ])('and so is %s', async (_, condition, says) => {
    expect(await warningsOf(ofCall(condition))).toContain(says)
  })

  test('and what some request meets is not', async () => {
    for (const text of [
      ofCall('context.labels.contains("pii")', publish),
      ofCall('context.labels.isEmpty()'),
      ofCall('context.operation like "tools/*" && context.tool like "delete*"'),
      ofCall('context.operation like "notifications/x*"'),
      ofCall('context.operation == "notifications/anything"'),
      ofCall('context.protocol == "http" && context.operation == "DELETE"'),
      when(
        'context.taskOwner == "shop" && context.operation == "GetTask"',
        'permit',
        'principal, action == Action::"administer", resource',
      ),
      ofCall('context.time > 1767276000'),
      ofCall('context.now.toTime() >= duration("22h")'),
      when('context.operation == "publish" || context.operation == "POST"', 'forbid'),
      ofCall('principal.name like "shop-*" && resource.name != "x"'),
    ]) {
      expect(await warningsOf(text), text).toBe('')
    }
  })
})

describe('a name that cannot exist is reported', () => {
  test.each([
    [
      'an operation',
      when('context.operation == "SendMesage"'),
      'no operation is called "SendMesage"',
    ],
    [
      'a former name of an operation',
      when('["tools/call", "message/send"].contains(context.operation)'),
      '"message/send"',
    ],
    [
      'an agent in capitals',
      'permit(principal == Agent::"Billing", action, resource);',
      'Agent::"Billing" cannot exist',
    ],
    ['a role with a blank', when('principal in Role::"on call"'), 'Role::"on call" cannot exist'],
    [
      'another fabric',
      'forbid(principal, action, resource == Fabric::"main");',
      'the fabric is Fabric::"fabric"',
    ],
  ])('%s', async (_, text, says) => {
    expect(await warningsOf(text)).toContain(says)
  })
})

describe('a condition that fails for almost every request is reported', () => {
  const flags = (entity: string) => `(${entity}).flags.hasTag("x") && (${entity}).flags.getTag("x")`

  test.each([
    ['the flags of an agent', flags('Agent::"a"')],
    ['an attribute', 'Agent::"a".segment == Segment::"blue"'],
    ['a tag', 'Agent::"a".hasTag("team") && Agent::"a".getTag("team") == "x"'],
    ['through a choice', '(if context.signed then Agent::"a" else Agent::"b").name == "a"'],
  ])('%s', async (_, condition) => {
    const warnings = await warningsOf(when(condition, 'forbid'))
    expect(warnings).toMatch(/a forbid that fails denies/)
    expect(await warningsOf(when(condition))).toMatch(/permits nothing/)
  })

  test('a membership, which is false', async () => {
    const warnings = await warningsOf(when('Agent::"a" in Role::"reader"'))
    expect(warnings).toMatch(/false for every other request/)
  })

  test('not where the entity is the principal or the resource', async () => {
    const scope = 'principal == Agent::"a", action, resource'
    expect(await warningsOf(when(flags('Agent::"a"'), 'forbid', scope))).toBe('')
    const guarded = `resource == Agent::"a" && ${flags('Agent::"a"')}`
    expect(await warningsOf(when(guarded, 'forbid', call))).toBe('')
  })
})

test('what the guide and the installed policies say is not reported', async () => {
  for (const text of [
    when('context.risk >= 70', 'forbid'),
    when('context.weekday <= 5 && context.now.toTime() >= duration("8h")'),
    when('principal.segment == resource.segment && principal.segment != Segment::""'),
    when('context.protocol == "mcp" && context.operation == "tools/call"', 'permit', call),
    when('["initialize", "notifications/initialized"].contains(context.operation)'),
    when('context.operation like "own.*"'),
    when('context.method == "token" || context.method == "api-key"', 'forbid'),
    'permit(principal, action, resource) unless { context.risk > 90 || context.signed };',
  ]) {
    expect(await warningsOf(text)).toBe('')
  }
})

const constant = <const T>(...values: readonly T[]) => fc.constantFrom(...values)
const literal = {
  transport: constant('gateway', 'mesh', 'queue', 'tcp'),
  protocol: constant('a2a', 'mcp', 'http', 'queue', 'admin', 'grpc'),
  method: constant('certificate', 'token', 'api-key', 'jwt'),
  tool: constant('a', 'b', ''),
} as const

/** Conditions over the parts of a request whose values are known, and over some that are not. */
const { condition } = fc.letrec<{ condition: string; atom: string }>((tie) => ({
  atom: fc.oneof(
    ...Object.entries(literal).map(([field, values]) =>
      fc
        .tuple(constant('==', '!='), values, values, fc.boolean())
        .map(([word, a, b, asList]) =>
          asList
            ? `["${a}", "${b}"].contains(context.${field})`
            : `context.${field} ${word} "${a}"`,
        ),
    ),
    fc
      .tuple(
        constant('<', '<=', '>', '>=', '==', '!='),
        fc.integer({ min: -5, max: 110 }),
        fc.boolean(),
      )
      .map(([word, n, mirrored]) =>
        mirrored ? `${n} ${word} context.risk` : `context.risk ${word} ${n}`,
      ),
    constant('context.signed', 'principal == Agent::"a"', 'principal in Role::"reader"'),
    constant('principal in Segment::"blue"', 'principal.segment == Segment::"red"'),
    constant('context.transport like "q*"', 'resource == principal'),
  ),
  condition: fc.oneof(
    { depthSize: 'small' },
    tie('atom'),
    fc.tuple(tie('condition'), tie('condition')).map(([a, b]) => `((${a}) && (${b}))`),
    fc.tuple(tie('condition'), tie('condition')).map(([a, b]) => `((${a}) || (${b}))`),
    tie('condition').map((inner) => `!(${inner})`),
  ),
}))

const request: fc.Arbitrary<PolicyRequest> = fc
  .record({
    transport: constant('gateway', 'mesh'),
    protocol: constant('a2a', 'mcp', 'http'),
    method: constant('certificate', 'token', 'api-key'),
    tool: literal.tool,
    signed: fc.boolean(),
    risk: fc.double({ min: 0, max: 100, noNaN: true }),
    name: constant('a', 'b'),
    roles: fc.subarray(['reader']),
    segment: constant('blue', 'red', ''),
  })
  .map(({ name, roles, segment, tool, ...context }) => ({
    principal: { kind: 'agent', name, roles, segment, attributes: {} },
    action: 'call',
    resource: { kind: 'agent', name: 'a', roles: [], segment: 'red', attributes: {} },
    // Only requests that can come: operations and tools belong to protocols.
    context: {
      ...{ ...context, labels: [], time: 1_767_276_000 },
      operation: { a2a: 'SendMessage', mcp: 'tools/call', http: 'POST' }[context.protocol],
      tool: context.protocol === 'mcp' ? tool : '',
    },
  }))

test('a policy that is said never to match matches no request', async () => {
  let reported = 0
  await fc.assert(
    fc.asyncProperty(
      condition,
      fc.array(request, { minLength: 30, maxLength: 30 }),
      async (body, requests) => {
        const set = await compile(when(body, 'permit', call))
        if (!set.warnings.some(({ message }) => message.includes('never matches'))) return
        reported++
        for (const each of requests) expect(set.decide(each).effect).toBe('deny')
      },
    ),
    { numRuns: 150 },
  )
  expect(reported).toBeGreaterThan(0)
})
