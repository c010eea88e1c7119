import { readdir, readFile } from 'node:fs/promises'
import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { describe, expect, test } from 'vitest'
import { OPERATION_NAMES } from '../../compose/operation-names.ts'
import { compilePolicies } from '../../policy/compile-policies.ts'
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
      'a segment other than that of the scope',
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
      'an unless that leaves nothing',
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
    ['a user by its bare name', ofCall('context.user == "ann"')],
    ['a user on the mesh', ofCall('context.transport == "mesh" && context.user != ""')],
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
    [
      'an API key over the mesh',
      ofCall('context.transport == "mesh" && context.method == "api-key"'),
    ],
    ['a tool of a list', ofCall('context.operation == "tools/list" && context.tool == "delete"')],
    ['a tool with a blank at its end', ofCall('context.tool == "delete "')],
    ['a tool with a character that shows nothing', ofCall('context.tool == "delete\\u{200b}"')],
    ['a tool with a line break in it', ofCall('context.tool like "delete\\n*"')],
    ['a tool with two blanks in it', ofCall('context.tool like "*a  b*"')],
    ['a tool that begins with a blank', ofCall('context.tool like " delete*"')],
    ['a tool that ends with a blank', ofCall('context.tool like "delete* "')],
    [
      'two parts of which none has a value of the other',
      when('context.protocol == context.method'),
    ],
    ['the protocol of a call as its transport', ofCall('context.protocol == context.transport')],
    ['half of an odd number', ofCall('context.weekday * 2 == 3')],
    ['a number between two products', ofCall('-5 * context.risk < -10 && -5 * context.risk > -15')],
    ['what is taken from itself', ofCall('context.risk - context.risk > 0')],
    ['a tool and another beginning', ofCall('context.tool like "a*" && context.tool == "b"')],
    ['two beginnings', ofCall('context.tool like "a*" && context.tool like "b*"')],
    ['two ends', ofCall('context.tool like "*a" && context.tool like "*b"')],
    [
      'a beginning that is excluded',
      ofCall('context.tool like "ab*" && !(context.tool like "a*")'),
    ],
    ['letters that names of receivers cannot have', ofCall('resource.name like "-*Shop"')],
    ['a beginning that names cannot have', ofCall('principal.name like "Shop*"')],
    ['a label in capitals', ofCall('context.labels.contains("PII")', publish)],
    [
      'a label that is asked for and excluded',
      ofCall('context.labels.containsAll(["a", "b"]) && !context.labels.contains("b")', publish),
    ],
    [
      'a label of none',
      ofCall('context.labels.isEmpty() && context.labels.contains("a")', publish),
    ],
    [
      'more labels than a message has',
      ofCall(
        `context.labels.containsAll([${Array.from({ length: 17 }, (_, i) => `"l${i}"`).join(', ')}])`,
        publish,
      ),
    ],
    ['arithmetic beyond a range', ofCall('context.risk * 2 > 200')],
    ['a choice that gives no such number', ofCall('(if context.signed then 1 else 2) > 2')],
    ['a choice on what never holds', ofCall('if context.risk > 100 then true else false')],
    [
      'a list that names the part at the other side',
      ofCall('["a", "SendMesage"].containsAll([context.operation, "b"])'),
    ],
    [
      'every day excluded',
      ofCall([1, 2, 3, 4, 5, 6, 7].map((day) => `context.weekday != ${day}`).join(' && ')),
    ],
    ['one entity of two names', ofCall('principal == Agent::"a" && principal.name == "b"')],
    [
      'another name than that of the scope',
      ofCall('principal.name == "b"', 'principal == Agent::"a", action, resource'),
    ],
    [
      'names that are equal and are not',
      ofCall(
        'principal == resource && principal.name == "a" && resource.name == "b"',
        'principal, action == Action::"call", resource == Agent::"b"',
      ),
    ],
    ['the fabric, of a call', ofCall('resource.name == "fabric"')],
    ['an action that the scope does not have', ofCall('action == Action::"publish"')],
    [
      'an agent that discovery is not asked about',
      ofCall('true', 'principal, action == Action::"discover", resource == Agent::"a"'),
    ],
    [
      'an agent that is read',
      ofCall('true', 'principal, action == Action::"read", resource is Agent'),
    ],
    [
      'a channel that is administered',
      ofCall('true', 'principal, action == Action::"administer", resource is Channel'),
    ],
    [
      'an operation that only reads, of administration',
      ofCall(
        'context.operation == "agent.list"',
        'principal, action == Action::"administer", resource',
      ),
    ],
    ['the operation of settling, of a publisher', ofCall('context.operation == "settle"', publish)],
    [
      'the owner of a task, of administration of the fabric',
      ofCall(
        'context.taskOwner == "a"',
        'principal, action == Action::"administer", resource is Fabric',
      ),
    ],
    ['a role that cannot exist', ofCall('principal in Role::"Admin"')],
    ['roles that cannot exist', ofCall('principal in [Role::"Admin", Role::"On Call"]')],
    ['an hour that no day has', ofCall('context.now.toTime() > duration("25h")')],
    [
      'an empty interval of time',
      ofCall('context.now < datetime("2026-01-01") && context.now > datetime("2027-01-01")'),
    ],
  ])('%s', async (_, text) => {
    expect(await warningsOf(text)).toMatch(/never matches: no request/)
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
      ofCall('context.tool like "delete *" || context.tool like "* record"'),
      ofCall('context.weekday * 2 == 4 && context.risk - context.weekday > 0'),
      when('context.protocol == context.transport'),
      ofCall('context.user like "https://login.example.com#user/*" || context.user == ""'),
      ofCall('context.time > 1767276000'),
      ofCall('context.now.toTime() >= duration("22h")'),
      when('context.operation == "publish" || context.operation == "POST"', 'forbid'),
      ofCall('principal.name like "shop-*" && resource.name != "x"'),
    ]) {
      expect(await warningsOf(text), text).toBe('')
    }
  })
})

describe('a condition that never distinguishes two requests is reported', () => {
  test.each([
    ['in an unless, which makes a permit too wide', 'context.transport == "Mesh"'],
    ['in an unless of several', 'context.method == "jwt" || context.risk > 90'],
    ['joined with another', 'context.protocol == "a2a" && context.tool == "delete"'],
    ['a number in another unit', 'context.time > 1767276000000'],
    ['inside of a negation', '!(context.tool == "delete ") && context.signed'],
  ])('%s', async (_, condition) => {
    expect(await warningsOf(`permit(${call}) unless { ${condition} };`)).toMatch(/no request meets/)
  })

  test('and one that always holds', async () => {
    expect(await warningsOf(when('context.time < 1767276000000', 'permit', call))).toContain(
      'every request meets context.time < 1767276000000',
    )
  })

  test.each([
    [
      'the values of a closed set, and the nearest',
      'context.protocol == "Http"',
      'context.protocol is one of "a2a", "mcp", "http" for these actions; did you mean "http"?',
    ],
    ['the nearest operation', 'context.operation == "sendMesage"', 'did you mean "SendMessage"?'],
    [
      'that a part is empty',
      'context.taskOwner == "shop"',
      'context.taskOwner is empty for these actions',
    ],
  ])('with %s', async (_, condition, help) => {
    expect(await warningsOf(ofCall(condition))).toContain(help)
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

test('the conditions of the guide and of the installed policies are not reported', async () => {
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

/** Every policy in the sources, tests and documents that stands there without a variable. */
async function policiesOfRepository(): Promise<readonly string[]> {
  const root = new URL('../../../../../', import.meta.url)
  const paths = [
    'docs',
    'examples',
    'bench',
    'test/harness',
    'test/e2e',
    'packages/fabric/policies',
  ]
  const nested = await Promise.all(
    [...paths, 'packages/demo/src', 'packages/fabric/src/cli', 'tools/siege', 'tools/crash'].map(
      async (path) => {
        const names = await readdir(new URL(path, root), { recursive: true })
        return names
          .filter((name) => /\.(?:ts|md|cedar)$/.test(name))
          .map((name) => `${path}/${name}`)
      },
    ),
  )
  const files = await Promise.all(
    nested.flat().map((path) => readFile(new URL(path, root), 'utf8')),
  )
  return files.flatMap((text) => text.match(/\b(?:permit|forbid)\s*\((?:[^`$;])*;/g) ?? [])
}

test('there are no warnings about the policies of the demo, the documents, the benchmarks and the tests', async () => {
  let checked = 0
  const found: string[] = []
  for (const text of new Set(await policiesOfRepository())) {
    const warnings = await warningsOf(text).catch(() => null)
    if (warnings === null) continue
    checked += 1
    if (warnings !== '') found.push(`${text}\n${warnings}`)
  }
  expect(found).toEqual([])
  expect(checked).toBeGreaterThan(40)
})
