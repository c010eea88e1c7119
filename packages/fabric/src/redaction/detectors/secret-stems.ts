import { FOREIGN_NAMES, SECRET_NAMES } from './secret-names.ts'

/** Signs that join the words of a name in texts. */
const JOINTS = ['', '_', '-', ' ', '.']

/** Every way to join the words of a name, not only those with one sign. */
const joinedForms = (name: string): readonly string[] =>
  name
    .split(' ')
    .reduce<string[]>(
      (forms, word, at) =>
        at === 0 ? [word] : forms.flatMap((form) => JOINTS.map((joint) => form + joint + word)),
      [],
    )

/** Keywords of the matcher: every name of the table in ASCII, with its words joined in any way. */
export const SECRET_STEMS: readonly string[] = buildStems()

function buildStems(): string[] {
  const stems: string[] = []
  const names = SECRET_NAMES.flatMap((row) => row.names)
  const joined = names.flatMap(joinedForms)
  for (const stem of new Set(joined.toSorted((a, b) => a.length - b.length))) {
    // A name is read to both sides of a stem, as far as it has no blank.
    if (stem.includes(' ') || !stems.some((shorter) => stem.includes(shorter))) stems.push(stem)
  }
  return stems
}

/** Names beyond ASCII as bytes, in the cases and with the letters that they are written with. */
export const FOREIGN_STEMS: readonly string[] = [
  ...new Set(
    FOREIGN_NAMES.flatMap((name) => {
      const capital = name.charAt(0).toUpperCase() + name.slice(1)
      return [name, capital, name.toUpperCase()].flatMap((form) => joinedForms(form).map(stemOf))
    }),
  ),
]

/** Bytes, as the matcher compares them; letters of ASCII in any case. */
function stemOf(name: string): string {
  return Buffer.from(name)
    .toString('latin1')
    .replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase())
}
