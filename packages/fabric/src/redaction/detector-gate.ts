import { CREDENTIAL_RULES } from './credentials.ts'
import { scanEmail } from './email.ts'
import { createKeywordGate } from './keyword-gate.ts'
import type { Scan } from './view.ts'

/** Every detector that is called by a keyword. */
const KEYWORDS = [
  { keyword: '@', scan: scanEmail },
  ...CREDENTIAL_RULES.flatMap((rule) =>
    rule.keywords.map((keyword) => ({ keyword, scan: rule.scan })),
  ),
]

export const detectorGate = createKeywordGate(KEYWORDS.map((entry) => entry.keyword))

/** Calls the detectors of every keyword in the view, in the order of the keywords' ends. */
export function scanKeywords(scan: Scan): void {
  const { bytes, to } = scan.view
  const { next, classes, outputsFrom, outputs, width } = detectorGate
  let state = 0
  for (let i = scan.view.from; i < to; i++) {
    state = next[state + (classes[bytes[i] as number] as number)] as number
    if (state < outputsFrom) continue
    for (const index of outputs[(state - outputsFrom) / width] ?? []) {
      const entry = KEYWORDS[index]
      if (entry !== undefined) entry.scan(scan, i + 1 - entry.keyword.length, entry.keyword)
    }
  }
}
