import { parse as parseYaml } from 'yaml'
import { createCedarParser } from './adapters/cedar/cedar-parser.ts'
import { compilePolicies, formatProblem, PoliciesRejected } from './policy/compile-policies.ts'
import { readPolicyFolder } from './policy/policy-folder.ts'
import type { CompiledPolicySet } from './policy/policy-set.ts'
import { loadPolicyTests, type PolicyTestResult, testPolicies } from './policy/policy-tests.ts'
import { DATA_CLASSES } from './redaction/redactor.ts'

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
  const cases = await loadPolicyTests(dir, (text) => parseYaml(text) as unknown)
  const { policies, version } = set
  const results = testPolicies(cases, set)
  return { policies: policies.length, version, problems: [], warnings: [], results }
}

async function compileFolder(dir: string): Promise<CompiledPolicySet | PoliciesRejected> {
  try {
    const compilation = { parser: createCedarParser(), dataClasses: DATA_CLASSES }
    return await compilePolicies(await readPolicyFolder(dir), compilation)
  } catch (error) {
    if (error instanceof PoliciesRejected) return error
    throw error
  }
}

function rejected(error: PoliciesRejected): CheckedFolder {
  return { policies: 0, version: '', problems: error.problems.map(formatProblem), warnings: [] }
}
