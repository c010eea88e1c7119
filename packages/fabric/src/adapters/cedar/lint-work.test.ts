import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { describe, expect, test } from 'vitest'
import { OPERATION_NAMES } from '../../compose/operation-names.ts'
import { compilePolicies } from '../../policy/compile-policies.ts'
import { createPolicyLint } from '../../policy/lint-policy.ts'
import { LintWork, policyStepsLimit } from '../../policy/lint-work.ts'
import { POLICY_SCHEMA } from '../../policy/schema.ts'
import { parseInWasm } from './parse-in-wasm.ts'

const when = (condition: string) =>
  `permit(principal, action == Action::"call", resource) when { ${condition} };`

const list = (count: number, element: (at: number) => string): string =>
  `[${Array.from({ length: count }, (_, at) => element(at)).join(',')}]`

/** The warnings of one policy, and what they cost. */
function lint(text: string, work = new LintWork()) {
  const [parsed] = parseInWasm(cedar, POLICY_SCHEMA, [text])
  if (parsed?.policy === undefined || parsed.policy === null) throw new Error('it does not parse')
  const lints = createPolicyLint(OPERATION_NAMES, work)(parsed.policy)
  return { lints, steps: work.spent }
}

const stepsOf = (text: string): number => lint(text).steps

function nested(depth: number, around: (inner: string) => string): string {
  let condition = 'context.protocol == "a2a"'
  for (let at = 0; at < depth; at++) condition = around(condition)
  return condition
}

const chosen = (inner: string) =>
  `if (${inner}) then context.transport == "mesh" else context.method == "token"`

/** Each depth narrows by another number first, so that no two of its questions are the same. */
function doubling(depth: number): string {
  let condition = 'context.protocol == "a2a"'
  for (let at = 0; at < depth; at++) condition = `context.risk != ${at} && (${chosen(condition)})`
  return condition
}

describe('the work for the warnings of a policy', () => {
  test.each<[string, (inner: string) => string]>([
    ['the condition of an if', chosen],
    ['a side of an order', (inner) => `(if ${inner} then 1 else 2) < 2`],
    ['a side of an equality', (inner) => `(if ${inner} then 1 else 2) == 1`],
    ['a flag that is compared', (inner) => `(${inner}) == true`],
  ])('grows with the depth of %s, and does not double with it', (_, around) => {
    const [shallow = 0, deep] = [7, 14].map((depth) => stepsOf(when(nested(depth, around))))
    expect(deep).toBeLessThan(6 * shallow)
  })

  test('ends when its share is used up, and reports it', () => {
    const work = new LintWork(1_000_000, 50_000)
    const { lints, steps } = lint(when(doubling(14)), work)
    expect(steps).toBeLessThan(60_000)
    expect(lints.at(-1)?.message).toMatch(/too complex to check.*policy\.lintStepsPerPolicy/)
    expect(lint(when('context.protocol == "grcp"'), work).lints).toHaveLength(1)
  })

  test.each([
    ['an element', (at: number) => `"a${at}"`, '.contains(context.protocol)'],
    ['a label that must not be', (at: number) => `"a${at}"`, '.containsAny(context.labels)'],
    ['a role', (at: number) => `Role::"a${at}"`, '.contains(resource)'],
    ['a number', (at: number) => `${at}`, '.contains(context.risk)'],
  ])('of a list with many times %s ends as well', (_, element, asked) => {
    const steps = (count: number) =>
      lint(`permit(principal, action, resource) unless { ${list(count, element)}${asked} };`).steps
    expect(steps(4_000)).toBeLessThan(1.1 * policyStepsLimit.value)
    expect(steps(2_000)).toBeGreaterThan(0)
  })
})

describe('the warnings of a policy', () => {
  test('are twenty, and one that there are more', () => {
    const { lints } = lint(when(`${list(200, (at) => `"a${at}"`)}.contains(context.protocol)`))
    expect(lints).toHaveLength(21)
    expect(lints.at(-1)?.message).toBe('this policy has more than 20 warnings')
  })

  test('quote a part of what they are about', () => {
    const pad = 'x'.repeat(10_000)
    const text = Array.from({ length: 99 }, (_, at) => `context.protocol == "${pad}${at}"`)
    const { lints } = lint(when(`${text.join(' || ')} || context.protocol == "a2a"`))
    expect(lints.length).toBeGreaterThan(0)
    for (const { message } of lints) expect(message.length).toBeLessThan(1_000)
  })

  test('of a joint of many conditions name some of them', () => {
    const text = Array.from({ length: 80 }, (_, at) => `context.tool != "${'x'.repeat(300)}${at}"`)
    const { lints } = lint(when(`${text.join(' && ')} && context.tool == "${'x'.repeat(300)}7"`))
    expect(lints).toHaveLength(1)
    expect(lints[0]?.message.length).toBeLessThan(4_000)
    expect(lints[0]?.message).toMatch(/ and 72 more$/)
  })
})

test('the warnings of a folder end, with one about the policies that were not checked', async () => {
  const parser = {
    parse: async (schema: string, texts: readonly string[]) => parseInWasm(cedar, schema, texts),
  }
  const wrong = when(`${list(25, (at) => `"a${at}"`)}.contains(context.protocol)`)
  const text = Array.from({ length: 60 }, () => wrong).join('\n')
  const { warnings } = await compilePolicies([{ name: 'a.cedar', text }], {
    ...{ parser, dataClasses: [], operations: OPERATION_NAMES },
  })
  expect(warnings.length).toBeLessThan(1_100)
  expect(warnings.at(-1)?.message).toMatch(/those after it were not checked \(policy\.warnings/)
})
