/**
 * Columns of a terminal by the rules of `wcwidth`, with tables of their own: what is wide in any
 * version of Unicode from 9 to 17 takes two columns, and a mark none, unless it is a spacing one or
 * too young for the terminals in use.
 */
const wide = rangesOf(`
  1100-115f 231a-231b 2329-232a 23e9-23ec 23f0 23f3 25fd-25fe 2614-2615 2630-2637
  2648-2653 267f 268a-268f 2693 26a1 26aa-26ab 26bd-26be 26c4-26c5 26ce 26d4 26ea
  26f2-26f3 26f5 26fa 26fd 2705 270a-270b 2728 274c 274e 2753-2755 2757 2795-2797 27b0
  27bf 2b1b-2b1c 2b50 2b55 2e80-2e99 2e9b-2ef3 2f00-2fd5 2ff0-3029 302e-303e 3041-3096
  309b-30ff 3105-312f 3131-318e 3190-31e5 31ef-321e 3220-a48c a490-a4c6 a960-a97c
  ac00-d7a3 f900-faff fe10-fe19 fe30-fe52 fe54-fe66 fe68-fe6b ff01-ff60 ffe0-ffe6
  16fe0-16fe3 16ff0-16ff6 17000-18cd5 18cff-18d1e 18d80-18df2 1aff0-1aff3 1aff5-1affb
  1affd-1affe 1b000-1b122 1b132 1b150-1b152 1b155 1b164-1b167 1b170-1b2fb 1d300-1d356
  1d360-1d376 1f004 1f0cf 1f18e 1f191-1f19a 1f1e6-1f202 1f210-1f23b 1f240-1f248
  1f250-1f251 1f260-1f265 1f300-1f320 1f32d-1f335 1f337-1f37c 1f37e-1f393 1f3a0-1f3ca
  1f3cf-1f3d3 1f3e0-1f3f0 1f3f4 1f3f8-1f43e 1f440 1f442-1f4fc 1f4ff-1f53d 1f54b-1f54e
  1f550-1f567 1f57a 1f595-1f596 1f5a4 1f5fb-1f64f 1f680-1f6c5 1f6cc 1f6d0-1f6d2
  1f6d5-1f6d8 1f6dc-1f6df 1f6eb-1f6ec 1f6f4-1f6fc 1f7e0-1f7eb 1f7f0 1f90c-1f9ff
  1fa70-1fa7c 1fa80-1fa8a 1fa8e-1fac6 1fac8 1facd-1fadc 1fadf-1faea 1faef-1faf8
  20000-2fffd 30000-3fffd
`)
const youngMarks = rangesOf(`
  7fd 897-89f 8ca-8d3 9fe afa-aff b55 c04 c3c d00 d3b-d3c d81 eba ece 1abf-1add 1ae0-1aeb
  1df6-1dfa a82c a8ff 10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10eff 10f46-10f50
  10f82-10f85 11070 11073-11074 110c2 111c9 111cf 11241 1133b 113bb-113c0 113ce 113d0
  113d2 113e1-113e2 1145e 1182f-11837 11839-1183a 1193b-1193c 1193e 11943 119d4-119d7
  119da-119db 119e0 11a01-11a0a 11a33-11a38 11a3b-11a3e 11a47 11a51-11a56 11a59-11a5b
  11a8a-11a96 11a98-11a99 11b60 11b62-11b64 11b66 11d31-11d36 11d3a 11d3c-11d3d
  11d3f-11d45 11d47 11d90-11d91 11d95 11d97 11ef3-11ef4 11f00-11f01 11f36-11f3a 11f40
  11f42 11f5a 13440 13447-13455 1611e-16129 1612d-1612f 16f4f 16fe4 1cf00-1cf2d
  1cf30-1cf46 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6
  1e6ee-1e6ef 1e6f5
`)

type Range = readonly [first: number, last: number]

function rangesOf(text: string): readonly Range[] {
  return text
    .trim()
    .split(/\s+/)
    .map((range) => {
      const [first = '', last = first] = range.split('-')
      return [Number.parseInt(first, 16), Number.parseInt(last, 16)]
    })
}

const isWithin = (ranges: readonly Range[], code: number): boolean =>
  ranges.some(([first, last]) => code >= first && code <= last)

/** The columns of one code point. */
export function wcwidth(character: string): 0 | 1 | 2 {
  const code = character.codePointAt(0) ?? 0
  if (code < 0x300) return 1
  if (/[\p{Mn}\p{Me}]/u.test(character)) return isWithin(youngMarks, code) ? 1 : 0
  return isWithin(wide, code) ? 2 : 1
}

/** Legible texts of which a terminal draws more columns than their clusters are wide. */
export const narrowClusters = [
  '\u1100',
  'a\u0903\u0903',
  '\u0915\u094d',
  '\u{17000}',
  '\ufe10',
] as const

/** The rows of a terminal that shows `text`: it breaks a line where its columns end. */
export function rowsOf(text: string, columns: number): readonly string[] {
  return text.split('\n').flatMap((line) => {
    const rows: string[] = []
    let row = ''
    let width = 0
    for (const character of line) {
      const added = wcwidth(character)
      if (width + added > columns) {
        rows.push(row)
        row = ''
        width = 0
      }
      row += character
      width += added
    }
    return [...rows, row]
  })
}
