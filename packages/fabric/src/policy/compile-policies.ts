import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { formatLimit, type Limit } from '@countersign/protocol'
import { PolicyUnsupported } from './cedar-json.ts'
import { type CompiledPolicy, compilePolicy } from './compile-policy.ts'
import { createPolicyLint } from './lint-policy.ts'
import { LintWork, lintStepsLimit } from './lint-work.ts'
import type { ParsedPolicy, ParserFault, PolicyParser } from './parser.ts'
import { assertReadable } from './policy-bounds.ts'
import {
  type CompiledPolicySet,
  createPolicySet,
  type PolicyProblem,
  type PolicySource,
} from './policy-set.ts'
import type { OperationNames } from './possible.ts'
import { POLICY_SCHEMA } from './schema.ts'
import { type Position, positionsIn, splitPolicies } from './split-policies.ts'

export interface PolicyCompilation {
  readonly parser: PolicyParser
  /** The data classes that `@mask` and `@block` may name. */
  readonly dataClasses: readonly string[]
  /** Every operation that a request can name; without it, names are not checked. */
  readonly operations?: OperationNames
  /**
   * True to look for `warnings`, which costs more than the compilation; otherwise the result lists
   * none.
   */
  readonly isLinted?: boolean
}

/** Far above what people maintain by hand; past it, a set is a mistake or an attack on memory. */
export const policySourcesMax = 1_000
export const policySourceCharactersMax = 1024 * 1024
export const policiesMax = 20_000

/** Some milliseconds of work; between two such steps the process answers others. */
const policiesPerTurn = 32

/** The policies were not taken, none of them. Lists every problem, each with its place. */
export class PoliciesRejected extends Error {
  readonly problems: readonly PolicyProblem[]

  constructor(problems: readonly PolicyProblem[]) {
    super(problems.map(formatProblem).join('\n'))
    this.problems = problems
  }
}

export function formatProblem({ file, line, column, message, help }: PolicyProblem): string {
  return `${file}:${line}:${column}: ${message}${help === '' ? '' : `; ${help}`}`
}

/** One policy as it was cut out of a file, and as the parser read it. */
interface Piece {
  readonly source: PolicySource
  /** One-based position among the policies of its file. */
  readonly number: number
  readonly text: string
  readonly start: number
  /** Of an offset in the whole file. */
  readonly positionOf: (offset: number) => Position
}

/**
 * All of `sources` as one set, or a rejection with `PoliciesRejected`: never a part of them.
 * No source at all is a set that denies everything.
 */
export async function compilePolicies(
  sources: readonly PolicySource[],
  { parser, dataClasses, operations, isLinted = true }: PolicyCompilation,
): Promise<CompiledPolicySet> {
  const sorted = sources.toSorted(byName)
  assertBounded(sorted)
  const pieces = sorted.flatMap(toPieces)
  if (pieces.length > policiesMax) {
    throw new PoliciesRejected([tooMany(pieces[0]?.source.name ?? '', 'policies', policiesMax)])
  }
  const problems = pieces.flatMap(unreadable)
  if (problems.length > 0) throw new PoliciesRejected(problems)
  const parsed = await parsePieces(parser, pieces)
  const policies: CompiledPolicy[] = []
  const ids = new Set<string>()
  for (const [ordinal, piece] of pieces.entries()) {
    await giveWay(ordinal)
    const result = parsed[ordinal]
    if (result === undefined) throw new Error('the policy parser left a policy out')
    problems.push(...result.faults.map((fault) => toProblem(piece, fault)))
    if (result.policy === null || result.faults.length > 0) continue
    const { policy } = result
    problems.push(
      ...unsupported(piece, () => {
        const id = claimId(policy.annotations?.['id'], piece, ids)
        const { line } = piece.positionOf(piece.start)
        const origin = { file: piece.source.name, line, text: piece.text }
        policies.push(compilePolicy(policy, { id, ordinal, origin }, dataClasses))
      }),
    )
  }
  if (problems.length > 0) throw new PoliciesRejected(problems)
  const warnings = isLinted ? await lintAll(pieces, parsed, operations ?? null) : []
  return createPolicySet({ version: versionOf(sorted), policies, sources: sorted, warnings })
}

/** More warnings would not help: the author fixes those that are listed first. */
const warningsLimit: Limit = { name: 'policy.warnings', value: 1_000, unit: 'count' }

async function lintAll(
  pieces: readonly Piece[],
  parsed: readonly ParsedPolicy[],
  operations: OperationNames | null,
): Promise<readonly PolicyProblem[]> {
  const work = new LintWork()
  const lint = createPolicyLint(operations, work)
  const warnings: PolicyProblem[] = []
  for (const [ordinal, piece] of pieces.entries()) {
    if (work.isTurnOver()) await setImmediate()
    await giveWay(ordinal)
    const limit = work.isUsedUp ? lintStepsLimit : warningsLimit
    if (work.isUsedUp || warnings.length >= warningsLimit.value) {
      const message = `this policy and those after it were not checked (${formatLimit(limit)})`
      warnings.push(toProblem(piece, { start: 0, message, help: 'mend what is listed first' }))
      break
    }
    warnings.push(...warningsOf(piece, parsed[ordinal], lint))
  }
  return warnings
}

async function giveWay(ordinal: number): Promise<void> {
  if (ordinal > 0 && ordinal % policiesPerTurn === 0) await setImmediate()
}

function warningsOf(
  piece: Piece,
  parsed: ParsedPolicy | undefined,
  lint: ReturnType<typeof createPolicyLint>,
): readonly PolicyProblem[] {
  const policy = parsed?.policy ?? null
  const lints = policy === null ? [] : lint(policy)
  const found = lints.map((each) => toProblem(piece, { start: 0, ...each }))
  return [...(parsed?.warnings ?? []).map((warning) => toProblem(piece, warning)), ...found]
}

function unreadable(piece: Piece): readonly PolicyProblem[] {
  return unsupported(piece, () => assertReadable(piece.text))
}

/** The problem that `work` met, at the place of the policy; none when it met none. */
function unsupported(piece: Piece, work: () => void): readonly PolicyProblem[] {
  try {
    work()
    return []
  } catch (error) {
    if (!(error instanceof PolicyUnsupported)) throw error
    return [toProblem(piece, { start: 0, message: error.message, help: '' })]
  }
}

/** Nothing to parse needs no parser, so an empty folder denies even when the parser is broken. */
async function parsePieces(
  parser: PolicyParser,
  pieces: readonly Piece[],
): Promise<readonly ParsedPolicy[]> {
  if (pieces.length === 0) return []
  return parser.parse(
    POLICY_SCHEMA,
    pieces.map(({ text }) => text),
  )
}

function toPieces(source: PolicySource): readonly Piece[] {
  const positionOf = positionsIn(source.text)
  return splitPolicies(source.text).map(({ text, start }, i) => ({
    ...{ source, positionOf },
    number: i + 1,
    text,
    start,
  }))
}

function toProblem({ source, start, positionOf }: Piece, fault: ParserFault): PolicyProblem {
  const { line, column } = positionOf(start + fault.start)
  return { file: source.name, line, column, message: fault.message, help: fault.help }
}

const idForm = /^[\p{L}\p{N}][\p{L}\p{N} ._:/#-]{0,127}$/u

function claimId(annotation: string | null | undefined, piece: Piece, taken: Set<string>): string {
  const named = annotation !== undefined
  const id = named
    ? (annotation ?? '')
    : `${piece.source.name.replace(/\.cedar$/, '')}#${piece.number}`
  if (named && !idForm.test(id)) {
    throw new PolicyUnsupported('@id takes 1 to 128 letters, digits, spaces and . _ : / # -')
  }
  if (taken.has(id)) {
    throw new PolicyUnsupported(
      `the id "${id}" is taken by another policy; give this one its own @id`,
    )
  }
  taken.add(id)
  return id
}

function assertBounded(sources: readonly PolicySource[]): void {
  if (sources.length > policySourcesMax) {
    throw new PoliciesRejected([tooMany(sources[0]?.name ?? '', 'files', policySourcesMax)])
  }
  for (const [i, { name, text }] of sources.entries()) {
    if (text.length > policySourceCharactersMax) {
      throw new PoliciesRejected([tooMany(name, 'characters', policySourceCharactersMax)])
    }
    if (sources[i + 1]?.name === name) {
      throw new PoliciesRejected([
        { file: name, line: 1, column: 1, message: 'this name occurs twice', help: 'rename one' },
      ])
    }
  }
}

function tooMany(file: string, what: string, limit: number): PolicyProblem {
  const message = `more than ${limit} ${what}`
  return { file, line: 1, column: 1, message, help: 'split the policies or remove some' }
}

/** By code unit, so that every machine and locale reads a folder in the same order. */
function byName(a: PolicySource, b: PolicySource): number {
  if (a.name === b.name) return 0
  return a.name < b.name ? -1 : 1
}

/** JSON keeps names and texts apart, so that no two different sets hash alike. */
function versionOf(sorted: readonly PolicySource[]): string {
  const canonical = JSON.stringify(sorted.map(({ name, text }) => [name, text]))
  return createHash('sha256').update(canonical).digest('hex')
}
