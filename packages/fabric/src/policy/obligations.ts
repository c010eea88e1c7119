import { type CedarPolicy, PolicyUnsupported } from './cedar-json.ts'
import type { Obligations } from './policy.ts'

export const NO_OBLIGATIONS: Obligations = Object.freeze({
  mask: Object.freeze([]),
  block: Object.freeze([]),
  signedRequest: false,
  signedResponse: false,
  assurance: 'durable',
  approval: null,
})

/** Shown to the person who must approve, and recorded; a sentence, not a document. */
const approvalCharactersMax = 200

type Reader = (value: string, dataClasses: readonly string[]) => Partial<Obligations>

/** One row for each annotation that demands something. */
const readers: Readonly<Record<string, Reader>> = {
  mask: (value, dataClasses) => ({ mask: parseWords('mask', value, dataClasses) }),
  block: (value, dataClasses) => ({ block: parseWords('block', value, dataClasses) }),
  sign: (value) => {
    const sides = parseWords('sign', value, ['request', 'response'])
    return { signedRequest: sides.includes('request'), signedResponse: sides.includes('response') }
  },
  assurance: (value) => {
    if (value === 'durable') return { assurance: 'durable' }
    throw new PolicyUnsupported(
      `@assurance takes only "durable" in this version: every intent is durable before delivery`,
    )
  },
  approval: (value) => {
    const reason = value.trim()
    if (reason === '' || reason.length > approvalCharactersMax) {
      throw new PolicyUnsupported(
        `@approval needs a reason of 1 to ${approvalCharactersMax} characters, shown to the approver`,
      )
    }
    return { approval: reason }
  },
}

/** Reports whether the annotation is an obligation of the fabric. */
export function isDemand(annotation: string): boolean {
  return Object.hasOwn(readers, annotation)
}

/** Annotations for people; they demand nothing. */
const remarks: readonly string[] = ['id', 'advice', 'description']

/** Every annotation that a policy may have. */
export const ANNOTATIONS: readonly string[] = [...Object.keys(readers), ...remarks]

/**
 * Returns the obligations in a permit's annotations. Throws `PolicyUnsupported` for every unknown
 * annotation.
 */
export function parseObligations(policy: CedarPolicy, dataClasses: readonly string[]): Obligations {
  let obligations = NO_OBLIGATIONS
  for (const [name, value] of Object.entries(policy.annotations ?? {})) {
    if (remarks.includes(name)) continue
    const read = Object.hasOwn(readers, name) ? readers[name] : undefined
    if (read === undefined) {
      const known = ANNOTATIONS.map((word) => `@${word}`).join(', ')
      throw new PolicyUnsupported(`the annotation @${name} is not known; known are ${known}`)
    }
    if (policy.effect === 'forbid') {
      throw new PolicyUnsupported(`@${name} has no meaning on a forbid; put it on the permits`)
    }
    obligations = { ...obligations, ...read(value ?? '', dataClasses) }
  }
  return Object.freeze(obligations)
}

function parseWords(name: string, value: string, known: readonly string[]): readonly string[] {
  const words = value.split(',').map((word) => word.trim())
  for (const word of words) {
    if (!known.includes(word)) {
      throw new PolicyUnsupported(
        `@${name} does not take ${JSON.stringify(word)}; it takes ${known.join(', ')}, separated by commas`,
      )
    }
  }
  return Object.freeze([...new Set(words)].toSorted())
}

/** The strictest of both: whatever either demands. */
export function uniteObligations(a: Obligations, b: Obligations): Obligations {
  if (a === b || b === NO_OBLIGATIONS) return a
  if (a === NO_OBLIGATIONS) return b
  return {
    mask: uniteWords(a.mask, b.mask),
    block: uniteWords(a.block, b.block),
    signedRequest: a.signedRequest || b.signedRequest,
    signedResponse: a.signedResponse || b.signedResponse,
    assurance: 'durable',
    approval: uniteReasons(a.approval, b.approval),
  }
}

function uniteWords(a: readonly string[], b: readonly string[]): readonly string[] {
  if (b.length === 0) return a
  return a.length === 0 ? b : [...new Set([...a, ...b])].toSorted()
}

/** Several reasons are several demands, so the approver reads all of them. */
function uniteReasons(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return a ?? b
  return [...new Set([...a.split('; '), ...b.split('; ')])].toSorted().join('; ')
}
