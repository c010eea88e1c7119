import { HOLDING, TELLING } from './member-roles.ts'
import { VARIANT_WORDS } from './secret-names.ts'
import { looksMade } from './secret-values.ts'
import type { Span } from './view.ts'
import { type Attribute, attributesIn } from './xml-pairs.ts'

/** Of these words for variants an attribute has the secret, and not a word about it. */
const variants: ReadonlySet<string> = new Set(
  'confirm confirmation confirmed repeat repeated again verify verification value val plain plaintext text raw string str new old current prev previous'.split(
    ' ',
  ),
)
const states: ReadonlySet<string> = new Set(VARIANT_WORDS.filter((word) => !variants.has(word)))

/** `value="…"`, `old="…"`; of `encoded="…"`, `data="…"` what is more than a word. */
function holds({ key }: Attribute, text: string): boolean {
  const name = key.toLowerCase()
  if (variants.has(name) || HOLDING.has(name)) return true
  if (!states.has(name) && !TELLING.has(name)) return false
  return looksMade(text) || (states.has(name) && (/\s/.test(text) || text.length >= wordMax))
}
const wordMax = 12

/** The values that a tag has for the name of its element: `tag` is the text from its `<` on. */
export function heldIn(tag: string): readonly Span[] {
  return attributesIn(tag)
    .filter((each) => holds(each, tag.slice(each.value.start, each.value.end)))
    .map(({ value }) => value)
}
