import type {
  DetailedError,
  ValidationAnswer,
  ValidationError,
} from '@cedar-policy/cedar-wasm/nodejs'
import type { CedarPolicy } from '../../policy/cedar-json.ts'
import type { ParsedPolicy, ParserFault } from '../../policy/parser.ts'

type CedarWasm = typeof import('@cedar-policy/cedar-wasm/nodejs')

/** Parses and validates; every call into the wasm is here. See `PolicyParser.parse`. */
export function parseInWasm(
  cedar: CedarWasm,
  schema: string,
  texts: readonly string[],
): readonly ParsedPolicy[] {
  const parsed = texts.map((text) => parseOne(cedar, text))
  const sound = new Map<string, string>()
  for (const [i, { policy }] of parsed.entries())
    if (policy !== null) sound.set(`${i}`, texts[i] ?? '')
  const answer = cedar.validate({
    schema,
    policies: { staticPolicies: Object.fromEntries(sound) },
    validationSettings: { mode: 'strict' },
  })
  if (answer.type === 'failure') {
    throw new Error(
      `the policies could not be validated: ${answer.errors.map(({ message }) => message).join('; ')}`,
    )
  }
  return withFindings(parsed, texts, answer)
}

function parseOne(cedar: CedarWasm, text: string): ParsedPolicy {
  const answer = cedar.policyToJson(text)
  if (answer.type === 'failure')
    return {
      policy: null,
      faults: answer.errors.map((error) => toFault(error, text)),
      warnings: [],
    }
  return { policy: answer.json as unknown as CedarPolicy, faults: [], warnings: [] }
}

function withFindings(
  parsed: readonly ParsedPolicy[],
  texts: readonly string[],
  answer: Extract<ValidationAnswer, { type: 'success' }>,
): readonly ParsedPolicy[] {
  const errors = byPolicy(answer.validationErrors, texts)
  const warnings = byPolicy(answer.validationWarnings, texts)
  return parsed.map((result, i) => ({
    policy: result.policy,
    faults: [...result.faults, ...(errors.get(i) ?? [])],
    warnings: warnings.get(i) ?? [],
  }))
}

function byPolicy(
  findings: readonly ValidationError[],
  texts: readonly string[],
): ReadonlyMap<number, readonly ParserFault[]> {
  const faults = new Map<number, ParserFault[]>()
  for (const { policyId, error } of findings) {
    const i = Number(policyId)
    const fault = toFault(error, texts[i] ?? '')
    const known = faults.get(i) ?? []
    faults.set(i, known)
    // Strict validation repeats a fault for each combination of types that meets it.
    if (!known.some((other) => other.start === fault.start && other.message === fault.message)) {
      known.push(fault)
    }
  }
  return faults
}

function toFault(error: DetailedError, text: string): ParserFault {
  const [location] = error.sourceLocations ?? []
  const expected = location?.label ?? ''
  const help = [error.help ?? '', expected].filter((part) => part !== '').join('; ')
  return {
    start: toCodeUnits(text, location?.start ?? 0),
    message: sentence(error.message),
    help: sentence(help),
  }
}

/** Our ids for single policies are numbers of no meaning to the reader. */
function sentence(text: string): string {
  return text
    .replace(/for policy `[0-9]+`, /, '')
    .replace(/^failed to parse policy from string: /, '')
}

/** The wasm counts UTF-8 bytes. */
function toCodeUnits(text: string, bytes: number): number {
  return new TextDecoder().decode(new TextEncoder().encode(text).subarray(0, bytes)).length
}
