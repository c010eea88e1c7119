import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PoliciesRejected } from './compile-policies.ts'
import { explainDecision } from './explain-decision.ts'
import {
  POLICY_ACTIONS,
  type PolicyAction,
  type PolicyContext,
  type PolicyRequest,
} from './policy.ts'
import type { CompiledPolicySet, PolicyProblem } from './policy-set.ts'
import { findImpossible, METHODS, type OperationNames, PROTOCOLS, TRANSPORTS } from './possible.ts'

/** One expectation of an operator about the policies, as a `*.test.yaml` file states it. */
export interface PolicyTestCase {
  readonly name: string
  readonly file: string
  readonly request: PolicyRequest
  readonly expect: 'permit' | 'deny'
  /** The policies that must have determined the decision, exactly these; null if not given. */
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

/** A test file as its parser read it. */
export interface TestDocument {
  readonly content: unknown
  /**
   * Returns the position of the value at `path`, counted from one; that of the nearest existing one
   * if it is missing.
   */
  placeOf(path: readonly (string | number)[]): { readonly line: number; readonly column: number }
}

/** Reads YAML; throws a `PoliciesRejected` with the place of what is not YAML. */
export type ReadTestDocument = (text: string, file: string) => TestDocument

/**
 * All cases of every `*.test.yaml` in `dir`, in order of the names. Rejects with
 * `PoliciesRejected`, which lists what is wrong in all of them.
 */
export async function loadPolicyTests(
  dir: string,
  read: ReadTestDocument,
  operations: OperationNames | null = null,
): Promise<readonly PolicyTestCase[]> {
  const names = (await readdir(dir)).filter((name) => name.endsWith('.test.yaml')).toSorted()
  const cases: PolicyTestCase[] = []
  const problems: PolicyProblem[] = []
  for (const name of names) {
    const text = await readFile(join(dir, name), 'utf8')
    try {
      cases.push(...parsePolicyTests(read(text, name), name, operations))
    } catch (error) {
      if (!(error instanceof PoliciesRejected)) throw error
      problems.push(...error.problems)
    }
  }
  if (problems.length > 0) throw new PoliciesRejected(problems)
  return cases
}

/**
 * Returns the cases of a test file: a list of `{ name, principal, action, resource, context?,
 * expect, policies? }`, where every omitted part of a principal, resource or context has the
 * harmless default below. Throws a `PoliciesRejected` with the position of anything else: unknown
 * keys, and requests that can never occur, about which a case would hold whatever the policies
 * state.
 */
export function parsePolicyTests(
  document: TestDocument,
  file: string,
  operations: OperationNames | null = null,
): readonly PolicyTestCase[] {
  const { content } = document
  const problemAt = (path: readonly (string | number)[], message: string): PolicyProblem => {
    return { file, ...document.placeOf(path), message, help: '' }
  }
  if (!Array.isArray(content)) {
    throw new PoliciesRejected([problemAt([], 'a list of cases was expected')])
  }
  const problems: PolicyProblem[] = []
  const cases = content.flatMap((entry: unknown, i) => {
    try {
      return [parseCase(entry, { file, i, operations })]
    } catch (error) {
      if (!(error instanceof CaseFault)) throw error
      problems.push(problemAt([i, ...error.path], `case ${i + 1}: ${error.message}`))
      return []
    }
  })
  if (problems.length > 0) throw new PoliciesRejected(problems)
  return cases
}

/** Something in a case that was not expected, with the way to it from the case. */
class CaseFault extends Error {
  readonly path: readonly string[]

  constructor(path: readonly string[], message: string) {
    super(message)
    this.path = path
  }
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
  taskOwner: '',
  user: '',
  time: 1_767_276_000,
}

/** Returns the context of a case that omits it: that of a request of its action that can occur. */
function defaultsOf(action: unknown): PolicyContext {
  if (action === 'call') return harmlessContext
  const ofQueue = { ...harmlessContext, transport: 'queue', protocol: 'queue' } as const
  if (action === 'publish') return { ...ofQueue, operation: 'publish' }
  if (action === 'consume') return { ...ofQueue, operation: 'lease' }
  return { ...harmlessContext, protocol: 'admin', operation: 'unread' }
}

interface CasePlace {
  readonly file: string
  readonly i: number
  readonly operations: OperationNames | null
}

function parseCase(entry: unknown, { file, i, operations }: CasePlace): PolicyTestCase {
  const fields = parseFields(entry, [], caseFields)
  const request: PolicyRequest = {
    principal: parseSubject(fields['principal'], 'principal', ['agent', 'user']),
    action: parseWord<PolicyAction>(fields['action'], ['action'], POLICY_ACTIONS),
    resource: parseSubject(fields['resource'], 'resource', ['agent', 'channel', 'fabric']),
    context: parseContext(fields['context'] ?? {}, defaultsOf(fields['action'])),
  }
  const impossible = findImpossible(request, operations)
  if (impossible !== null) {
    throw new CaseFault(impossible.path, `no such request can come: ${impossible.says}`)
  }
  return {
    name: fields['name'] === undefined ? `case ${i + 1}` : parseText(fields['name'], ['name']),
    file,
    request,
    expect: parseWord(fields['expect'], ['expect'], ['permit', 'deny'] as const),
    policies:
      fields['policies'] === undefined ? null : parseTexts(fields['policies'], ['policies']),
  }
}

const caseFields = ['name', 'principal', 'action', 'resource', 'context', 'expect', 'policies']
const subjectFields = ['kind', 'name', 'roles', 'segment', 'attributes']

function parseSubject<Kind extends string>(value: unknown, part: string, kinds: readonly Kind[]) {
  const fields = parseFields(value, [part], subjectFields)
  return {
    kind: parseWord(fields['kind'], [part, 'kind'], kinds),
    name: parseText(fields['name'], [part, 'name']),
    roles: parseTexts(fields['roles'] ?? [], [part, 'roles']),
    segment: parseText(fields['segment'] ?? '', [part, 'segment']),
    attributes: parseAttributes(fields['attributes'] ?? {}, [part, 'attributes']),
  }
}

function parseAttributes(
  value: unknown,
  path: Path,
): Readonly<Record<string, string | number | boolean>> {
  const attributes = Object.entries(parseFields(value, path, null)).map(([name, attribute]) => {
    if (
      typeof attribute !== 'string' &&
      typeof attribute !== 'number' &&
      typeof attribute !== 'boolean'
    ) {
      throw new CaseFault([...path, name], `"${name}" must be text, a number or a flag`)
    }
    return [name, attribute] as const
  })
  return Object.fromEntries(attributes)
}

function parseContext(value: unknown, defaults: PolicyContext): PolicyContext {
  const fields = parseFields(value, ['context'], Object.keys(harmlessContext))
  const given = { ...defaults, ...fields }
  const at = (field: keyof PolicyContext): Path => ['context', field]
  return {
    transport: parseWord(given.transport, at('transport'), TRANSPORTS),
    protocol: parseWord(given.protocol, at('protocol'), PROTOCOLS),
    operation: parseText(given.operation, at('operation')),
    tool: parseText(given.tool, at('tool')),
    method: parseWord(given.method, at('method'), METHODS),
    signed: parseOf<boolean>(given.signed, at('signed'), 'boolean'),
    risk: parseOf<number>(given.risk, at('risk'), 'number'),
    labels: parseTexts(given.labels, at('labels')),
    taskOwner: parseText(given.taskOwner, at('taskOwner')),
    user: parseText(given.user, at('user')),
    time: parseOf<number>(given.time, at('time'), 'number'),
  }
}

type Path = readonly string[]

function parseFields(
  value: unknown,
  path: Path,
  known: readonly string[] | null,
): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CaseFault(path, `${path.at(-1) ?? 'a case'} must be an object`)
  }
  for (const name of Object.keys(value)) {
    if (known !== null && !known.includes(name)) {
      throw new CaseFault([...path, name], `"${name}" is not known; known are ${known.join(', ')}`)
    }
  }
  return value as Readonly<Record<string, unknown>>
}

function parseOf<Type>(value: unknown, path: Path, type: 'string' | 'number' | 'boolean'): Type {
  const word = type === 'string' ? 'text' : type === 'number' ? 'a number' : 'true or false'
  if (typeof value !== type) throw new CaseFault(path, `"${path.at(-1)}" must be ${word}`)
  return value as Type
}

function parseText(value: unknown, path: Path): string {
  return parseOf<string>(value, path, 'string')
}

function parseTexts(value: unknown, path: Path): readonly string[] {
  if (!Array.isArray(value)) throw new CaseFault(path, `"${path.at(-1)}" must be a list`)
  return value.map((text) => parseText(text, path))
}

function parseWord<Word extends string>(value: unknown, path: Path, words: readonly Word[]): Word {
  const word = words.find((known) => known === value)
  if (word === undefined) {
    throw new CaseFault(path, `"${path.at(-1)}" must be one of ${words.join(', ')}`)
  }
  return word
}
