import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { explainDecision } from './explain-decision.ts'
import {
  POLICY_ACTIONS,
  type PolicyAction,
  type PolicyContext,
  type PolicyRequest,
} from './policy.ts'
import type { CompiledPolicySet } from './policy-set.ts'

/** One expectation of an operator about the policies, as a `*.test.yaml` file states it. */
export interface PolicyTestCase {
  readonly name: string
  readonly file: string
  readonly request: PolicyRequest
  readonly expect: 'permit' | 'deny'
  /** When given, exactly these policies must have determined the decision. */
  readonly policies: readonly string[] | null
}

export interface PolicyTestResult {
  readonly name: string
  readonly file: string
  readonly passed: boolean
  /** Empty when passed; else what was decided instead, and why. */
  readonly detail: string
}

/** Runs every case; none of them changes anything. */
export function testPolicies(
  cases: readonly PolicyTestCase[],
  set: CompiledPolicySet,
): readonly PolicyTestResult[] {
  return cases.map(({ name, file, request, expect, policies }) => {
    const { decision, text } = explainDecision(request, set)
    const isSame = policies === null || sameWords(policies, decision.policies)
    const passed = decision.effect === expect && isSame
    if (passed) return { name, file, passed, detail: '' }
    const wanted = policies === null ? expect : `${expect} by ${policies.join(', ')}`
    return { name, file, passed, detail: `expected ${wanted}\n${text}` }
  })
}

function sameWords(a: readonly string[], b: readonly string[]): boolean {
  return JSON.stringify(a.toSorted()) === JSON.stringify(b.toSorted())
}

/** All cases of every `*.test.yaml` in `dir`, in order of the names. `parseYaml` is the caller's. */
export async function loadPolicyTests(
  dir: string,
  parseYaml: (text: string) => unknown,
): Promise<readonly PolicyTestCase[]> {
  const names = (await readdir(dir)).filter((name) => name.endsWith('.test.yaml')).toSorted()
  const files = await Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(dir, name), 'utf8')
      return parsePolicyTests(parseYaml(text), name)
    }),
  )
  return files.flat()
}

/**
 * The cases in a parsed test file: a list of
 * `{ name, principal, action, resource, context?, expect, policies? }`, where everything that is
 * left out of a principal, resource or context has the harmless default below. Throws a `TypeError`
 * naming the file and case for anything else, unknown keys included.
 */
export function parsePolicyTests(content: unknown, file: string): readonly PolicyTestCase[] {
  if (!Array.isArray(content)) throw new TypeError(`${file}: a list of cases was expected`)
  return content.map((entry: unknown, i) => {
    try {
      return parseCase(entry, file, i)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new TypeError(`${file}: case ${i + 1}: ${reason}`, { cause: error })
    }
  })
}

const harmlessContext: PolicyContext = {
  transport: 'gateway',
  protocol: 'http',
  operation: 'POST',
  tool: '',
  method: 'certificate',
  signed: true,
  risk: 0,
  labels: [],
  time: 1_767_276_000,
}

function parseCase(entry: unknown, file: string, i: number): PolicyTestCase {
  const fields = parseFields(entry, [
    'name',
    'principal',
    'action',
    'resource',
    'context',
    'expect',
    'policies',
  ])
  return {
    name: fields['name'] === undefined ? `case ${i + 1}` : parseText(fields['name'], 'name'),
    file,
    request: {
      principal: parseSubject(fields['principal'], ['agent', 'user']),
      action: parseWord<PolicyAction>(fields['action'], 'action', POLICY_ACTIONS),
      resource: parseSubject(fields['resource'], ['agent', 'channel', 'fabric']),
      context: parseContext(fields['context'] ?? {}),
    },
    expect: parseWord(fields['expect'], 'expect', ['permit', 'deny'] as const),
    policies: fields['policies'] === undefined ? null : parseTexts(fields['policies'], 'policies'),
  }
}

function parseSubject<Kind extends string>(value: unknown, kinds: readonly Kind[]) {
  const fields = parseFields(value, ['kind', 'name', 'roles', 'segment', 'attributes'])
  return {
    kind: parseWord(fields['kind'], 'kind', kinds),
    name: parseText(fields['name'], 'name'),
    roles: parseTexts(fields['roles'] ?? [], 'roles'),
    segment: parseText(fields['segment'] ?? '', 'segment'),
    attributes: parseAttributes(fields['attributes'] ?? {}),
  }
}

function parseAttributes(value: unknown): Readonly<Record<string, string | number | boolean>> {
  const attributes = Object.entries(parseFields(value, null)).map(([name, attribute]) => {
    if (
      typeof attribute !== 'string' &&
      typeof attribute !== 'number' &&
      typeof attribute !== 'boolean'
    ) {
      throw new TypeError(`the attribute "${name}" must be text, a number or a flag`)
    }
    return [name, attribute] as const
  })
  return Object.fromEntries(attributes)
}

function parseContext(value: unknown): PolicyContext {
  const fields = parseFields(value, Object.keys(harmlessContext))
  const given = { ...harmlessContext, ...fields }
  return {
    transport: parseWord(given.transport, 'transport', ['gateway', 'mesh', 'queue'] as const),
    protocol: parseWord(given.protocol, 'protocol', [
      'a2a',
      'mcp',
      'http',
      'queue',
      'admin',
    ] as const),
    operation: parseText(given.operation, 'operation'),
    tool: parseText(given.tool, 'tool'),
    method: parseWord(given.method, 'method', ['certificate', 'token', 'api-key'] as const),
    signed: parseOf<boolean>(given.signed, 'signed', 'boolean'),
    risk: parseOf<number>(given.risk, 'risk', 'number'),
    labels: parseTexts(given.labels, 'labels'),
    time: parseOf<number>(given.time, 'time', 'number'),
  }
}

function parseFields(
  value: unknown,
  known: readonly string[] | null,
): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError('an object was expected')
  }
  for (const name of Object.keys(value)) {
    if (known !== null && !known.includes(name)) {
      throw new TypeError(`"${name}" is not known; known are ${known.join(', ')}`)
    }
  }
  return value as Readonly<Record<string, unknown>>
}

function parseOf<Type>(value: unknown, field: string, type: 'string' | 'number' | 'boolean'): Type {
  if (typeof value !== type) throw new TypeError(`"${field}" must be a ${type}`)
  return value as Type
}

function parseText(value: unknown, field: string): string {
  return parseOf<string>(value, field, 'string')
}

function parseTexts(value: unknown, field: string): readonly string[] {
  if (!Array.isArray(value)) throw new TypeError(`"${field}" must be a list`)
  return value.map((text) => parseText(text, field))
}

function parseWord<Word extends string>(
  value: unknown,
  field: string,
  words: readonly Word[],
): Word {
  const word = words.find((known) => known === value)
  if (word === undefined) throw new TypeError(`"${field}" must be one of ${words.join(', ')}`)
  return word
}
