import fc from 'fast-check'
import { expect, test } from 'vitest'
import { classifyRequest } from '../classify.ts'
import { addKnown, createIdFilter, foldedId, visitKnown } from './known-ids.ts'
import { mayHoldCall } from './lax-call.ts'

const digitsOf = (sign: string, base: number, width = 1) =>
  sign.charCodeAt(0).toString(base).padStart(width, '0')

/** The notations that docs/protocol.md lists for one sign. */
const notations: Readonly<Record<string, (sign: string) => string>> = {
  '%6d': (sign) => `%${digitsOf(sign, 16, 2)}`,
  '%u006d': (sign) => `%u${digitsOf(sign, 16, 4)}`,
  '\\u006d': (sign) => `\\u${digitsOf(sign, 16, 4)}`,
  '\\u{6d}': (sign) => `\\u{${digitsOf(sign, 16)}}`,
  '\\U0000006d': (sign) => `\\U${digitsOf(sign, 16, 8)}`,
  '\\x6d': (sign) => `\\x${digitsOf(sign, 16, 2)}`,
  '\\x006d': (sign) => `\\x${digitsOf(sign, 16, 4)}`,
  '\\x{6d}': (sign) => `\\x{${digitsOf(sign, 16)}}`,
  '\\155': (sign) => `\\${digitsOf(sign, 8, 3)}`,
  '\\o155': (sign) => `\\o${digitsOf(sign, 8, 3)}`,
  '\\o{155}': (sign) => `\\o{${digitsOf(sign, 8)}}`,
  '\\109': (sign) => `\\${digitsOf(sign, 10, 3)}`,
  '\\6d ': (sign) => `\\${digitsOf(sign, 16)} `,
  '&#109;': (sign) => `&#${digitsOf(sign, 10)};`,
  '&#x6d;': (sign) => `&#x${digitsOf(sign, 16)};`,
}

const filter = createIdFilter()
const id = 'a41e7c05-9b2d-4f6a-8c3e-1d5f7a9b0c2e'
addKnown(filter, id)

function holdsId(text: string): boolean {
  let found = false
  visitKnown(text, [filter], () => {
    found = true
  })
  return found
}

// With a digit right behind an escape, readers differ in how many belong to it.
test.each(Object.entries(notations))(
  'any signs written as %s hide no call and no id',
  (_, write) => {
    const chosen = fc.array(fc.boolean(), { minLength: 40, maxLength: 40 })
    fc.assert(
      fc.property(chosen, (isWritten) => {
        const written = (text: string) =>
          Array.from(text, (sign, at) => (isWritten[at] === true ? write(sign) : sign)).join('')
        expect(mayHoldCall(`s = "{${written('"method":"tools/call"')}}"`)).toBe(true)
        expect(holdsId(`see "${written(id)}" now`)).toBe(true)
      }),
    )
  },
)

test.each([
  ['text/plain; charset=utf-8', 'utf8'],
  ['text/plain; charset=iso-8859-1', 'latin1'],
  ['text/plain; charset=Windows-1252', 'latin1'],
  ['application/xml; charset=latin1', 'latin1'],
] as const)('an id is found in the charset of its body, %s', (type, encoding) => {
  const foreign = 't\u00e2che-7d0f3b1e5b7c4a52'
  addKnown(filter, foreign)
  for (const text of [`see ${foreign} now`, `taskId: ${foreign}`, `<task id="${foreign}"/>`]) {
    const headers = new Map([['content-type', type]])
    const head = { method: 'POST', path: '/', authority: 'a', headers }
    const body = new Uint8Array(Buffer.from(text, encoding))
    const read = classifyRequest({ head, body }, '/', 'auto', { known: [filter] })
    expect(read).toMatchObject({ tasks: { known: [foldedId(foreign)] } })
  }
})
