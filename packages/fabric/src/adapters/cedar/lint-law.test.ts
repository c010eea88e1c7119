import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OPERATION_NAMES } from '../../compose/operation-names.ts'
import { compilePolicies } from '../../policy/compile-policies.ts'
import type { PolicyRequest } from '../../policy/policy.ts'
import { findImpossible, type RequestKind, requestKinds } from '../../policy/possible.ts'
import { parseInWasm } from './parse-in-wasm.ts'

const compilation = {
  parser: {
    parse: async (schema: string, texts: readonly string[]) => parseInWasm(cedar, schema, texts),
  },
  dataClasses: [],
  operations: OPERATION_NAMES,
}

const word = fc.constantFrom('a', 'ab', 'b', 'shop', 'find record', 'x.y', 'e\u0301\u0301')
const name = fc.constantFrom('a', 'ab', 'b', 'shop')
const labelSets = fc.subarray(['a', 'ab', 'no-card', 'pii'])
const number = fc.constantFrom(-1, 0, 1, 2, 7, 8, 50, 100, 101, 1_767_276_000, 1_767_276_000_000)
const comparison = fc.constantFrom('==', '!=', '<', '<=', '>', '>=')
/** A user on whose behalf a caller acts. */
const ann = 'https://login.example.com#user/ann'
const side = fc.constantFrom('principal', 'resource')
const text = fc.constantFrom(
  ...['context.tool', 'context.operation', 'context.protocol', 'context.transport'],
  ...['context.method', 'context.taskOwner', 'context.user', 'principal.name', 'resource.name'],
)
const texts = fc.oneof(
  fc.constantFrom(' ', '  ', '\u0301', '\n', 'd r'),
  word,
  fc.constantFrom('', 'fabric', 'mcp', 'a2a', 'queue', 'gateway', 'mesh', 'api-key', 'certificate'),
  fc.constantFrom(ann, 'https://login.example.com#user/'),
  fc.constantFrom('tools/call', 'tools/list', 'SendMessage', 'POST', 'publish', 'lease', 'Shop'),
)
const entity = fc.oneof(
  fc.tuple(fc.constantFrom('Agent', 'User', 'Channel', 'Role', 'Segment'), name),
  fc.constant(['Fabric', 'fabric'] as const),
)
const numeric = fc.oneof(
  fc.constantFrom('context.risk', 'context.weekday', 'context.time'),
  fc.constantFrom('(context.risk + context.weekday)', '(0 - context.risk)', '(context.risk * 2)'),
  fc.constantFrom('(if context.signed then 1 else context.risk)', '(context.weekday * -3)'),
  fc.constantFrom('(context.risk - context.risk)', '((context.risk - context.weekday) * 2)'),
)
const list = fc.array(texts, { minLength: 1, maxLength: 3 }).map((each) => JSON.stringify(each))

/** Conditions over everything that a policy can see; some of them are contradictions. */
const { condition } = fc.letrec<{ condition: string; atom: string }>((tie) => ({
  atom: fc.oneof(
    fc.tuple(text, fc.constantFrom('==', '!='), texts).map(([a, is, b]) => `${a} ${is} "${b}"`),
    fc
      .tuple(text, texts, fc.constantFrom('^*', '*^', '*^*', '^'))
      .map(([a, b, form]) => `${a} like "${form.replace('^', b)}"`),
    fc.tuple(text, fc.constantFrom('==', '!='), text).map((each) => each.join(' ')),
    fc.tuple(list, text).map(([each, a]) => `${each}.contains(${a})`),
    fc
      .tuple(list, text, text, fc.constantFrom('Any', 'All'))
      .map(([each, a, b, which]) => `${each}.contains${which}([${a}, ${b}])`),
    fc.tuple(numeric, comparison, number).map((each) => each.join(' ')),
    fc.tuple(number, comparison, numeric).map((each) => each.join(' ')),
    fc.tuple(side, entity).map(([a, [type, id]]) => `${a} in ${type}::"${id}"`),
    fc
      .tuple(side, fc.constantFrom('==', '!='), entity)
      .map(([a, is, [type, id]]) => `${a} ${is} ${type}::"${id}"`),
    fc
      .tuple(side, fc.constantFrom('Agent', 'User', 'Channel', 'Fabric'))
      .map((each) => each.join(' is ')),
    fc.tuple(side, name).map(([a, id]) => `${a}.segment == Segment::"${id}"`),
    fc.constantFrom('principal == resource', 'principal.name == resource.name', 'context.signed'),
    fc.constantFrom(
      'context.now.toTime() >= duration("8h")',
      'context.now < datetime("2026-01-01")',
    ),
    fc
      .tuple(fc.constantFrom('Any', 'All'), labelSets)
      .map(
        ([which, labels]) =>
          `context.labels.contains${which}(${JSON.stringify(['pii', ...labels])})`,
      ),
    fc.constantFrom(
      'context.labels.isEmpty()',
      'context.labels == ["a"]',
      'context.labels.contains("A")',
    ),
  ),
  condition: fc.oneof(
    { depthSize: 'small' },
    tie('atom'),
    fc.tuple(tie('condition'), tie('condition')).map(([a, b]) => `((${a}) && (${b}))`),
    fc.tuple(tie('condition'), tie('condition')).map(([a, b]) => `((${a}) || (${b}))`),
    fc
      .tuple(tie('condition'), tie('condition'), tie('condition'))
      .map(([a, b, c]) => `(if ${a} then ${b} else ${c})`),
    tie('condition').map((inner) => `!(${inner})`),
  ),
}))

function requestOf(kind: RequestKind): fc.Arbitrary<PolicyRequest> {
  const operations = (kind.operations ?? []).map((each) => each.replace('*', 'x'))
  const subject = { roles: fc.subarray(['a', 'shop']), segment: fc.constantFrom('', 'a', 'shop') }
  const attributes = fc.constant({})
  return fc.record({
    principal: fc.record({ ...subject, kind: fc.constantFrom('agent', 'user'), name, attributes }),
    action: fc.constant(kind.action),
    resource: fc.record({
      ...{ ...subject, kind: fc.constant(kind.resource), attributes },
      name: kind.resource === 'fabric' ? fc.constant('fabric') : name,
    }),
    context: fc.record({
      transport: fc.constant(kind.transport),
      protocol: fc.constant(kind.protocol),
      operation: fc.constantFrom(...operations),
      tool: kind.named ? fc.oneof(word, fc.constant('')) : fc.constant(''),
      method: fc.constantFrom(...kind.methods),
      signed: fc.boolean(),
      risk: fc.double({ min: 0, max: 100, noNaN: true }),
      labels: kind.labelled ? labelSets : fc.constant([]),
      taskOwner: kind.ofTask ? fc.oneof(name, fc.constant('')) : fc.constant(''),
      user: kind.transport === 'mesh' ? fc.constant('') : fc.constantFrom('', ann),
      time: fc.integer({ min: 1_700_000_000, max: 1_800_000_000 }),
    }),
  })
}

const request = fc.constantFrom(...requestKinds(OPERATION_NAMES)).chain(requestOf)

const scope = fc.constantFrom(
  ...['principal, action, resource', 'principal, action == Action::"call", resource'],
  ...['principal is Agent, action == Action::"publish", resource'],
  'principal == Agent::"a", action in [Action::"call", Action::"administer"], resource',
  'principal in Role::"a", action, resource == Agent::"b"',
)

test('a policy that is reported as never matching matches no request that can come [authorize:possible]', async () => {
  let reported = 0
  let silent = 0
  await fc.assert(
    fc.asyncProperty(
      ...[scope, condition, fc.constantFrom('when', 'unless')],
      fc.array(request, { minLength: 120, maxLength: 120 }),
      async (head, body, word, requests) => {
        const source = { name: 'a.cedar', text: `permit(${head}) ${word} { ${body} };` }
        // Policies that the strict validator refuses are not of interest here.
        const set = await compilePolicies([source], compilation).catch(() => null)
        if (set === null) return
        const isReported = set.warnings.some(({ message }) => message.includes('never matches'))
        reported += isReported ? 1 : 0
        silent += isReported ? 0 : 1
        for (const each of requests) {
          expect(findImpossible(each, OPERATION_NAMES)).toBeNull()
          if (isReported) expect(set.decide(each).effect).toBe('deny')
        }
      },
    ),
    { numRuns: 250 },
  )
  expect(reported).toBeGreaterThan(10)
  expect(silent).toBeGreaterThan(10)
})
