import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import { createCedarParser } from '../adapters/cedar/cedar-parser.ts'
import { compilePolicies, formatProblem, PoliciesRejected } from '../policy/compile-policies.ts'
import { readPolicyFolder } from '../policy/policy-folder.ts'
import type { CompiledPolicySet, PolicyProblem } from '../policy/policy-set.ts'
import {
  loadPolicyTests,
  type PolicyTestResult,
  type TestDocument,
  testPolicies,
} from '../policy/policy-tests.ts'
import { DATA_CLASSES } from '../redaction/redactor.ts'
import { OPERATION_NAMES } from './operation-names.ts'

export interface CheckedFolder {
  readonly policies: number
  /** Empty when the folder is not a valid set. */
  readonly version: string
  /** `file:line:column: what; what to do`, each of which keeps the whole folder from loading. */
  readonly problems: readonly string[]
  readonly warnings: readonly string[]
}

/** Validates a folder as the fabric would, without one running. */
export async function checkPolicyFolder(dir: string): Promise<CheckedFolder> {
  const set = await compileFolder(dir)
  if (set instanceof PoliciesRejected) return rejected(set)
  const { policies, version, warnings } = set
  return {
    policies: policies.length,
    version,
    problems: [],
    warnings: warnings.map((warning) => formatProblem(warning)),
  }
}

export interface TestedFolder extends CheckedFolder {
  readonly results: readonly PolicyTestResult[]
}

/** Runs every `*.test.yaml` of the folder against its policies. */
export async function testPolicyFolder(dir: string): Promise<TestedFolder> {
  const set = await compileFolder(dir)
  if (set instanceof PoliciesRejected) return { ...rejected(set), results: [] }
  const cases = await orRejection(loadPolicyTests(dir, readTestDocument, OPERATION_NAMES))
  if (cases instanceof PoliciesRejected) return { ...rejected(cases), results: [] }
  const { policies, version } = set
  const results = testPolicies(cases, set)
  return { policies: policies.length, version, problems: [], warnings: [], results }
}

/**
 * YAML with the places of its values. An alias that expands without end is refused by the parser.
 */
export function readTestDocument(text: string, file: string): TestDocument {
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter, uniqueKeys: true })
  const placeAt = (offset: number) => {
    const { line, col } = counter.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const problemAt = (start: number, message: string): PolicyProblem => {
    return { file, ...placeAt(start), message, help: 'correct the YAML' }
  }
  const problems = document.errors.map(({ message, pos: [start] }) =>
    problemAt(start, message.split(' at line ')[0] ?? message),
  )
  if (problems.length > 0) throw new PoliciesRejected(problems)
  return {
    content: contentOf(document, (message) => problemAt(0, message)),
    placeOf: (path) => placeAt(offsetOf(document.contents, path)),
  }
}

/** Aliases can multiply beyond the parser's bound, which throws only when they are resolved. */
function contentOf(document: Document, problem: (message: string) => PolicyProblem): unknown {
  try {
    return document.toJS()
  } catch (error) {
    throw new PoliciesRejected([problem(String(error))])
  }
}

/**
 * Returns the offset at which the value at `path` begins, or the key that leads to it; else the
 * nearest above.
 */
function offsetOf(node: unknown, [first, ...rest]: readonly (string | number)[]): number {
  const own = isNode(node) ? (node.range?.[0] ?? 0) : 0
  if (first === undefined) return own
  if (isSeq(node)) return offsetOf(node.items[Number(first)], rest)
  if (!isMap(node)) return own
  const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(first))
  if (pair === undefined) return own
  return rest.length === 0 ? offsetOf(pair.key, []) : offsetOf(pair.value, rest)
}

async function orRejection<Value>(work: Promise<Value>): Promise<Value | PoliciesRejected> {
  try {
    return await work
  } catch (error) {
    if (error instanceof PoliciesRejected) return error
    throw error
  }
}

function compileFolder(dir: string): Promise<CompiledPolicySet | PoliciesRejected> {
  const compilation = {
    parser: createCedarParser(),
    dataClasses: DATA_CLASSES,
    operations: OPERATION_NAMES,
  }
  return orRejection(readPolicyFolder(dir).then((sources) => compilePolicies(sources, compilation)))
}

function rejected(error: PoliciesRejected): CheckedFolder {
  return { policies: 0, version: '', problems: error.problems.map(formatProblem), warnings: [] }
}
