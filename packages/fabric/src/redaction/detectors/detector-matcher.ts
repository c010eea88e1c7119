import { STEPS } from '../inspection-work.ts'
import type { Scan } from '../text/view.ts'
import { CREDENTIAL_RULES } from './credentials.ts'
import { scanEmail } from './email.ts'
import { createKeywordMatcher, type KeywordMatcher } from './keyword-matcher.ts'
import { NamedSecrets } from './named-secret.ts'
import { FOREIGN_STEMS, SECRET_STEMS } from './secret-stems.ts'

/** Every detector that is called by a keyword. */
const KEYWORDS = [
  { keyword: '@', scan: scanEmail, isAnyCase: false },
  ...CREDENTIAL_RULES.flatMap((rule) =>
    rule.keywords.map((keyword) => ({
      keyword,
      scan: rule.scan,
      isAnyCase: rule.isAnyCase === true,
    })),
  ),
  ...SECRET_STEMS.map((keyword) => ({ keyword, scan: null, isAnyCase: true })),
]

/** Finds keywords in any case, since some have any; the others are compared once more. */
export const detectorMatcher = createKeywordMatcher(
  KEYWORDS.map((entry) => entry.keyword.toLowerCase()),
  { caseSensitive: false },
)

/** The state behind an `@`, where no other keyword ends. */
export const mailState: number = detectorMatcher.next[detectorMatcher.classes[0x40] as number] ?? 0

/** Reports whether a keyword other than `@` is in `text`, which is ASCII. */
export function holdsNamedKeyword(text: string): boolean {
  const { next, classes, outputsFrom } = detectorMatcher
  let state = 0
  for (let i = 0; i < text.length; i++) {
    state = next[state + (classes[text.charCodeAt(i)] as number)] as number
    if (state >= outputsFrom && state !== mailState) return true
  }
  return false
}

/** Apart, since only texts beyond ASCII hold any, and every byte value would widen the table. */
const foreignMatcher = createKeywordMatcher(FOREIGN_STEMS, { caseSensitive: false })

/**
 * Calls the detectors of every keyword in the view, in the order of the keywords' ends. Names of
 * secrets come last: the form of a value is stronger evidence than its name.
 */
export function scanKeywords(scan: Scan): void {
  const named: Stem[] = []
  const { bytes } = scan.view
  eachKeyword(detectorMatcher, scan, (index, end) => {
    const entry = KEYWORDS[index]
    if (entry === undefined) return
    scan.spend(STEPS.keyword)
    const at = end - entry.keyword.length
    if (entry.scan === null) named.push({ at, length: entry.keyword.length })
    else if (entry.isAnyCase || isSpelt(bytes, at, entry.keyword))
      entry.scan(scan, at, entry.keyword)
  })
  lookAt(scan, named)
}

/** Names of secrets in other alphabets. */
export function scanForeignNames(scan: Scan): void {
  const named: Stem[] = []
  eachKeyword(foreignMatcher, scan, (index, end) => {
    scan.spend(STEPS.keyword)
    const length = FOREIGN_STEMS[index]?.length ?? 0
    named.push({ at: end - length, length })
  })
  lookAt(scan, named)
}

interface Stem {
  readonly at: number
  readonly length: number
}

/** Of two names that begin together the longer one first: `pass phrase` is not a `pass`. */
function lookAt(scan: Scan, named: Stem[]): void {
  if (named.length === 0) return
  const secrets = new NamedSecrets(scan)
  named.sort((a, b) => a.at - b.at || b.length - a.length)
  for (const { at, length } of named) secrets.look(at, length)
}

function eachKeyword(
  matcher: KeywordMatcher,
  { view }: Scan,
  visit: (keyword: number, end: number) => void,
): void {
  const { next, classes, outputsFrom, outputs, width } = matcher
  const { bytes, to } = view
  let state = 0
  for (let i = view.from; i < to; i++) {
    state = next[state + (classes[bytes[i] as number] as number)] as number
    if (state < outputsFrom) continue
    for (const index of outputs[(state - outputsFrom) / width] ?? []) visit(index, i + 1)
  }
}

function isSpelt(bytes: Uint8Array, at: number, keyword: string): boolean {
  for (let i = 0; i < keyword.length; i++) {
    if (bytes[at + i] !== keyword.charCodeAt(i)) return false
  }
  return true
}
