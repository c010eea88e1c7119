import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { describe, expect, test } from 'vitest'
import { OPERATION_NAMES } from '../../compose/operation-names.ts'
import { readTestDocument } from '../../compose/policy-check.ts'
import { compilePolicies, PoliciesRejected } from '../../policy/compile-policies.ts'
import { explainDecision } from '../../policy/explain-decision.ts'
import type { PolicyParser } from '../../policy/parser.ts'
import type { PolicyRequest } from '../../policy/policy.ts'
import { readPolicyFolder } from '../../policy/policy-folder.ts'
import { loadPolicyTests, parsePolicyTests, testPolicies } from '../../policy/policy-tests.ts'
import { POLICY_SCHEMA } from '../../policy/schema.ts'
import { createCedarParser } from './cedar-parser.ts'
import { parseInWasm } from './parse-in-wasm.ts'

/** In this thread: starting a process for every test would only take time. */
const parser: PolicyParser = {
  parse: async (schema, texts) => parseInWasm(cedar, schema, texts),
}

const compilation = {
  parser,
  dataClasses: ['card', 'credential', 'email', 'iban'],
}

function compile(text: string, name = 'a.cedar') {
  return compilePolicies([{ name, text }], compilation)
}

async function problemsOf(text: string) {
  try {
    await compile(text)
  } catch (error) {
    if (error instanceof PoliciesRejected) return error.problems
    throw error
  }
  return []
}

const request: PolicyRequest = {
  principal: {
    kind: 'agent',
    name: 'planner',
    roles: ['planner'],
    segment: 'blue',
    attributes: { team: 'a', level: 2, half: 0.5, vip: true },
  },
  action: 'call',
  resource: { kind: 'agent', name: 'billing', roles: ['api'], segment: 'red', attributes: {} },
  context: {
    transport: 'gateway',
    protocol: 'mcp',
    operation: 'tools/call',
    tool: 'refund',
    method: 'token',
    signed: false,
    risk: 73,
    labels: ['order'],
    time: 1_767_276_000,
  },
}

describe('loading policies', () => {
  test('ids come from @id or from file and number, and the version from names and texts', async () => {
    const text =
      '@id("x") permit(principal, action, resource);\nforbid(principal, action, resource);'
    const set = await compile(text, '10-a.cedar')
    expect(set.policies.map(({ id }) => id)).toEqual(['x', '10-a#2'])
    expect(set.version).toMatch(/^[0-9a-f]{64}$/)
    expect((await compile(text, '11-a.cedar')).version).not.toBe(set.version)
    expect((await compile(text, '10-a.cedar')).version).toBe(set.version)
  })

  test.each([
    [
      'a syntax error',
      'permit(principal, action, resource);\npermit(principal, actio, resource);',
      2,
      19,
      'action',
    ],
    [
      'an unknown action',
      'permit(principal, action == Action::"cal", resource);',
      1,
      29,
      'did you mean',
    ],
    [
      'a type error behind characters of several bytes',
      'permit(principal is Agent, action, resource)\nwhen { "ü𝄞" == principal.foo };',
      2,
      17,
      'foo',
    ],
    [
      'an unguarded tag',
      'permit(principal is User, action, resource)\n when { principal.getTag("a") == "b" };',
      2,
      9,
      'hasTag',
    ],
    ['a template', 'permit(principal == ?principal, action, resource);', 1, 21, 'template'],
    [
      'a rounded number',
      'permit(principal, action, resource) when { context.time < 9007199254740993 };',
      1,
      1,
      '9007199254740991',
    ],
    [
      'a number beyond 64 bits',
      'permit(principal, action, resource) when { context.time < 9223372036854775808 };',
      1,
      59,
      '9223372036854775808',
    ],
    ['an unfinished policy', 'permit(principal, action, resource)', 1, 36, 'end of input'],
    [
      'a repeated id',
      '@id("a") permit(principal, action, resource);\n@id("a") permit(principal, action, resource);',
      2,
      1,
      'taken',
    ],
    [
      'a partial-evaluation function',
      'permit(principal, action, resource) when { unknown("x") };',
      1,
      1,
      'unknown',
    ],
  ])('%s is refused with its place and a hint', async (_, text, line, column, hint) => {
    const problems = await problemsOf(text)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatchObject({ file: 'a.cedar', line, column })
    expect(`${problems[0]?.message} ${problems[0]?.help}`).toContain(hint)
  })

  test('the parser process reads a text as the wasm reads it', async () => {
    const texts = [
      'permit(principal, action, resource) when { "ü" like "*" };',
      'permit(',
      'forbid(principal, action == Action::"cal", resource);',
    ]
    const parsed = await createCedarParser().parse(POLICY_SCHEMA, texts)
    expect(parsed).toEqual(parseInWasm(cedar, POLICY_SCHEMA, texts))
    expect(parsed.map(({ faults }) => faults.length)).toEqual([0, 1, 1])
  })

  test('a parser that breaks rejects, and gives no policies', async () => {
    await expect(createCedarParser().parse('nonsense', [])).rejects.toThrow('validated')
  })

  test('a policy that can never match is taken with a warning', async () => {
    const set = await compile('permit(principal, action, resource) when { 1 == 2 };')
    expect(set.warnings[0]?.message).toContain('impossible')
  })

  test('__proto__ is an attribute name like any other', async () => {
    const set = await compile(
      'permit(principal, action, resource) when { {"__proto__": 1} == {"__proto__": 1} };\n' +
        'forbid(principal, action, resource) when { {"__proto__": 1} == {"__proto__": 2} };',
    )
    expect(set.decide(request).policies).toEqual(['a#1'])
  })
})

describe('deciding', () => {
  test('a forbid that fails denies, although Cedar would skip it', async () => {
    const set = await compile(
      'permit(principal, action, resource);\nforbid(principal, action, resource)\n' +
        'when { principal.numbers.hasTag("half") && principal.numbers.getTag("half") > 3 };',
    )
    const decision = set.decide(request)
    expect(decision).toMatchObject({ effect: 'deny', policies: ['a#2'] })
    expect(decision.errors).toEqual([
      { policy: 'a#2', message: 'attribute "half" is not a whole number' },
    ])
  })

  test('risk is rounded up and time down', async () => {
    const set = await compile(
      'permit(principal, action, resource) when { context.risk == 74 && context.time == 5 };',
    )
    const context = { ...request.context, risk: 73.1, time: 5.9 }
    expect(set.decide({ ...request, context }).effect).toBe('permit')
  })

  test('a combination that the schema lacks is denied regardless of the policies', async () => {
    const set = await compile('permit(principal, action, resource);')
    const resource = { ...request.resource, kind: 'channel' } as const
    expect(set.decide({ ...request, resource })).toMatchObject({ effect: 'deny', policies: [] })
  })

  test.each([
    ['when { a && b }', 'when { context.signed && context.risk > 0 }', false],
    ['unless { a && b }', 'unless { context.signed && context.risk > 0 }', true],
    ['unless { a || b }', 'unless { context.signed || context.risk > 0 }', false],
    ['two clauses', 'when { context.risk > 0 } unless { context.signed }', true],
  ])('%s is taken apart rightly', async (_, clauses, permitted) => {
    const set = await compile(`permit(principal, action, resource) ${clauses};`)
    expect(set.decide(request).effect).toBe(permitted ? 'permit' : 'deny')
    const unmet = explainDecision(request, set).nearest.flatMap(({ requirements }) =>
      requirements.filter(({ met }) => !met),
    )
    expect(unmet.length > 0).toBe(!permitted)
  })

  test('several permits unite their demands', async () => {
    const set = await compile(
      '@mask("card") permit(principal, action, resource);\n@mask("email") @sign("request") permit(principal, action, resource);\npermit(principal, action, resource);',
    )
    expect(set.decide(request)).toMatchObject({
      effect: 'permit',
      policies: ['a#1', 'a#2', 'a#3'],
      obligations: { mask: ['card', 'email'], signedRequest: true, signedResponse: false },
    })
  })
})

describe('explaining', () => {
  test('a default denial names the nearest permit first and what it lacks', async () => {
    const set = await compile(
      `@id("far") permit(principal in Role::"auditor", action == Action::"read", resource) when { context.signed };
@id("near") permit(principal in Role::"billing-reader", action == Action::"call", resource == Agent::"billing")
when { context.signed && context.tool == "refund" } unless { context.risk > 50 || context.method == "api-key" };`,
    )
    const { nearest, text, determining } = explainDecision(request, set)
    expect(determining).toEqual([])
    expect(nearest.map(({ policy }) => policy)[0]).toBe('near')
    expect(nearest[0]?.requirements.filter(({ met }) => !met).map(({ says }) => says)).toEqual([
      'principal would have to be in Role::"billing-reader" (it is Agent::"planner" with roles planner, in segment "blue")',
      'context.signed would have to be true (context.signed is false)',
      'context.risk would have to be at most 50 (context.risk is 73)',
    ])
    expect(text).toContain('No policy permits this')
  })

  test('a forbid that fired shows its conditions, its advice and what it overrode', async () => {
    const set = await compile(
      `permit(principal, action, resource);
@id("risk") @advice("Wait.") forbid(principal, action, resource) when { context.risk >= 70 };`,
    )
    const { determining, text } = explainDecision(request, set)
    expect(determining[0]).toMatchObject({
      policy: 'risk',
      file: 'a.cedar',
      line: 2,
      advice: 'Wait.',
    })
    expect(text.split('\n')).toEqual([
      'Denied: agent "planner" asks to call agent "billing".',
      'Policy "risk" (a.cedar:2) forbids it:',
      '  because context.risk >= 70',
      '  Advice: Wait.',
      'Policy "a#1" (a.cedar:1) would permit it, were it not forbidden.',
    ])
  })

  test('a negated condition is put the other way round', async () => {
    const set = await compile(
      'permit(principal, action, resource) when { !(context.tool == "refund") };',
    )
    const [requirement] = explainDecision(request, set).nearest[0]?.requirements ?? []
    expect(requirement?.says).toBe(
      'context.tool would have to be other than "refund" (context.tool is "refund")',
    )
  })

  test('the spelling of an explanation parses as the same condition again', async () => {
    const body =
      '(if context.signed then 1 else -(context.risk)) + 3 * 2 < 9 || principal is Agent in Role::"planner" && ' +
      '{ "a b": decimal("1.5") }["a b"].lessThan(decimal("2.0")) && principal has segment.name && ' +
      'context.tool like "re*\\*" && [1, 2].containsAny([2]) && ![].isEmpty() && !(principal.hasTag("ü"))'
    const first = await compile(`permit(principal, action, resource) when { ${body} };`)
    const [spelled] = explainDecision(request, first).determining
    const cedar = spelled?.requirements.map((requirement) => requirement.cedar).join(' && ') ?? body
    const [policy] = (await compile(`permit(principal, action, resource) when { ${cedar} };`))
      .policies
    expect(policy?.cedar.conditions).toEqual(first.policies[0]?.cedar.conditions)
  })
})

const folder = fileURLToPath(new URL('../../../policies/', import.meta.url))
const guide = fileURLToPath(new URL('../../../../../docs/policy.md', import.meta.url))

describe('the policies that are shipped', () => {
  test('the installed policies pass the tests next to them', async () => {
    const set = await compilePolicies(await readPolicyFolder(folder), compilation)
    const cases = await loadPolicyTests(folder, readTestDocument, OPERATION_NAMES)
    expect(testPolicies(cases, set).filter(({ passed }) => !passed)).toEqual([])
    expect(cases.length).toBeGreaterThan(10)
    expect(set.warnings).toEqual([])
    expect((await readdir(folder)).filter((name) => name.endsWith('.cedar'))).toHaveLength(
      set.sources.length,
    )
  })

  test('every example in the guide is valid, and its tests hold', async () => {
    const text = await readFile(guide, 'utf8')
    const blocks = (language: string) =>
      [...text.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, 'g'))].map(
        ([, block]) => block ?? '',
      )
    const sources = blocks('cedar').map((block, i) => ({
      name: `example-${i + 1}.cedar`,
      text: block,
    }))
    const set = await compilePolicies(sources, compilation)
    expect(set.warnings).toEqual([])
    expect(set.policies.length).toBeGreaterThan(15)
    const cases = blocks('yaml').flatMap((block) =>
      parsePolicyTests(readTestDocument(block, 'guide'), 'guide', OPERATION_NAMES),
    )
    expect(testPolicies(cases, set).filter(({ passed }) => !passed)).toEqual([])
    expect(cases).toHaveLength(2)
  })

  test('a case that is not met reports the actual decision', async () => {
    const set = await compile('permit(principal, action, resource);')
    const [result] = testPolicies(
      [{ name: 'n', file: 'f', request, expect: 'deny', policies: null }],
      set,
    )
    expect(result).toMatchObject({ passed: false })
    expect(result?.detail).toContain('expected deny')
  })

  const whole = [
    '- name: the planner calls billing',
    '  principal: { kind: agent, name: planner }',
    '  action: call',
    '  resource:',
    '    kind: agent',
    '    name: billing',
    '  context:',
    '    risk: 3',
    '  expect: deny',
  ].join('\n')
  const read = (text: string) =>
    parsePolicyTests(readTestDocument(text, 'x.test.yaml'), 'x.test.yaml', OPERATION_NAMES)

  test.each([
    ['a misspelt key', ['action: call', 'actoin: call'], '3:3', '"actoin" is not known'],
    ['a misspelt action', ['action: call', 'action: cal'], '3:3', '"action" must be one of'],
    ['a misspelt key of the resource', ['    kind:', '    kin:'], '5:5', '"kin" is not known'],
    ['a misspelt field of the context', ['risk: 3', 'riks: 3'], '8:5', '"riks" is not known'],
    ['text for a number', ['risk: 3', 'risk: high'], '8:5', '"risk" must be a number'],
    ['a misspelt expectation', ['expect: deny', 'expect: denied'], '9:3', 'permit, deny'],
    ['an expectation that is missing', ['expect: deny', 'name2: x'], '9:3', '"name2"'],
    ['a key that occurs twice', ['  expect: deny', '  action: call'], '9:3', 'unique'],
    ['YAML that ends too early', ['kind: agent, name', '[kind: agent, name'], '2:', ''],
    ['something that is not a list', [whole, 'name: x'], '1:1', 'a list of cases'],
    ['aliases without end', [whole, bomb()], '1:1', 'alias'],
  ])('a test file with %s is refused at its line', (_, [from, to], place, says) => {
    const text = whole.replace(from ?? '', to ?? '')
    expect(text).not.toBe(whole)
    expect(() => read(text)).toThrow(`x.test.yaml:${place}`)
    expect(() => read(text)).toThrow(says)
  })

  test.each([
    ['a principal in capitals', 'name: planner', 'name: Planner', 'can be called "Planner"'],
    ['a reserved principal', 'name: planner', 'name: fabric', 'can be called "fabric"'],
    ['a resource with a blank', 'name: billing', 'name: bil ling', 'can be called "bil ling"'],
    ['a role in capitals', 'name: planner }', 'name: planner, roles: [Staff] }', '"Staff"'],
    ['a segment in capitals', 'name: planner }', 'name: planner, segment: EU }', '"EU"'],
    ['a call to a channel', 'kind: agent\n', 'kind: channel\n', 'call is asked of agent'],
    ['a misspelt operation', 'risk: 3', '{ protocol: mcp, operation: tools/cal }', '"tools/cal"'],
    ['an operation of another protocol', 'risk: 3', '{ operation: SendMessage }', 'http has no'],
    ['a call through a queue', 'risk: 3', '{ transport: queue }', 'comes by queue'],
    ['a call of administration', 'risk: 3', '{ protocol: admin }', 'comes by admin'],
    ['a tool of plain HTTP', 'risk: 3', '{ tool: pay }', 'has no tool "pay"'],
    [
      'a tool with a blank behind it',
      'risk: 3',
      '{ protocol: mcp, operation: tools/call, tool: "pay " }',
      'has no tool',
    ],
    ['labels of a call', 'risk: 3', '{ labels: [pii] }', 'no labels'],
    ['a risk beyond its scale', 'risk: 3', '{ risk: 5000 }', '0 to 100'],
    ['a time before 1970', 'risk: 3', '{ time: -1 }', 'since 1970'],
    ['a time in milliseconds', 'risk: 3', '{ time: 1767276000000 }', 'since 1970'],
  ])('a case about %s, which no request is, is an error', (_, from, to, says) => {
    const text = whole.replace(
      from.startsWith('risk') ? `\n    ${from}` : from,
      from.startsWith('risk') ? ` ${to}` : to,
    )
    expect(text).not.toBe(whole)
    expect(() => read(text)).toThrow('no such request can come')
    expect(() => read(text)).toThrow(says)
  })

  test('every fault of a test file is listed, not only the first', () => {
    const text = `${whole}\n${whole}`.replaceAll('expect: deny', 'expect: perhaps')
    expect(() => read(text)).toThrow(/x\.test\.yaml:9:3[^]*x\.test\.yaml:18:3/)
  })
})

/** A document of a few lines that would be a million values. */
function bomb(): string {
  const levels = Array.from({ length: 7 }, (_, i) =>
    i === 0 ? 'l0: &l0 [x, x, x, x, x, x, x, x]' : `l${i}: &l${i} [${`*l${i - 1}, `.repeat(8)}]`,
  )
  return levels.join('\n')
}
