import { CREDENTIAL_RULES } from './credentials.ts'
import { scanEmail } from './email.ts'
import { STEPS } from './inspection-work.ts'
import { createKeywordGate } from './keyword-gate.ts'
import { SECRET_STEMS, scanNamedSecret } from './named-secret.ts'
import type { Scan } from './view.ts'

/** Every detector that is called by a keyword. */
const KEYWORDS = [
  { keyword: '@', scan: scanEmail, anyCase: false },
  ...CREDENTIAL_RULES.flatMap((rule) =>
    rule.keywords.map((keyword) => ({ keyword, scan: rule.scan, anyCase: false })),
  ),
  ...SECRET_STEMS.map((keyword) => ({ keyword, scan: scanNamedSecret, anyCase: true })),
]

/** Finds keywords in any case, since some have any; the others are compared once more. */
export const detectorGate = createKeywordGate(
  KEYWORDS.map((entry) => entry.keyword.toLowerCase()),
  { caseSensitive: false },
)

/**
 * Calls the detectors of every keyword in the view, in the order of the keywords' ends. Names of
 * secrets come last: what a value is by itself says more than what it is called.
 */
export function scanKeywords(scan: Scan): void {
  const named: number[] = []
  const { bytes, to } = scan.view
  const { next, classes, outputsFrom, outputs, width } = detectorGate
  let state = 0
  for (let i = scan.view.from; i < to; i++) {
    state = next[state + (classes[bytes[i] as number] as number)] as number
    if (state < outputsFrom) continue
    for (const index of outputs[(state - outputsFrom) / width] ?? []) {
      const entry = KEYWORDS[index]
      if (entry === undefined) continue
      scan.spend(entry.anyCase ? STEPS.secretStem : STEPS.keyword)
      const at = i + 1 - entry.keyword.length
      if (entry.anyCase) named.push(at, index)
      else if (isSpelt(bytes, at, entry.keyword)) entry.scan(scan, at, entry.keyword)
    }
  }
  for (let k = 0; k < named.length; k += 2) {
    const entry = KEYWORDS[named[k + 1] as number]
    entry?.scan(scan, named[k] as number, entry.keyword)
  }
}

function isSpelt(bytes: Uint8Array, at: number, keyword: string): boolean {
  for (let i = 0; i < keyword.length; i++) {
    if (bytes[at + i] !== keyword.charCodeAt(i)) return false
  }
  return true
}
