import { findRequirement, REQUIREMENTS, TRANSPORTS } from '../requirements.ts'

export interface Citing {
  readonly id: string
  /** Null for all transports that the row names. */
  readonly transport: string | null
  readonly file: string
}

const BRACKETED = /\[([a-z]+:[a-z0-9-]+)(?:@([a-z]+))?\]/g
const VERIFIES = /\bverifies\(\s*\[([^\]]*)\]/g
const QUOTED = /['"]([a-z]+:[a-z0-9-]+)(?:@([a-z]+))?['"]/g
/** Titles only: a comment or a fixture that happens to name a row proves nothing. */
const TITLE = /\b(?:test|it|describe)(?:\.\w+)*(?:\([^()]*\))?\(\s*(?:'[^'\n]*'|"[^"\n]*"|`[^`]*`)/g

/** The promises that a test file cites, in its titles or through `verifies`. */
export function citationsIn(file: string, text: string): readonly Citing[] {
  const titles = [...text.matchAll(TITLE)].flatMap(([title]) => [...title.matchAll(BRACKETED)])
  const calls = [...text.matchAll(VERIFIES)].flatMap(([, ids = '']) => [...ids.matchAll(QUOTED)])
  return [...titles, ...calls].map(([, id = '', transport]) => ({
    id,
    transport: transport ?? null,
    file,
  }))
}

/** Citations of what was never promised. */
export function unknownCitations(cited: readonly Citing[]): readonly string[] {
  return cited.flatMap(({ id, transport, file }) => {
    const row = findRequirement(id)
    if (row === null) return [`${file} cites ${id}, which is no requirement`]
    if (transport === null || row.on.some((on) => on === transport)) return []
    return [`${file} cites ${id}@${transport}, where it is not promised`]
  })
}

/** Promises that no test verifies, by transport. */
export function uncited(cited: readonly Citing[]): readonly string[] {
  return Object.keys(REQUIREMENTS).flatMap((id) => {
    const mine = cited.filter((one) => one.id === id)
    if (mine.some(({ transport }) => transport === null)) return []
    const on = findRequirement(id)?.on ?? []
    const missing = on.filter((one) => mine.every(({ transport }) => transport !== one))
    return missing.length === 0 ? [] : [`${id} on ${missing.join(', ')}`]
  })
}

/** Rows that leave a transport unmentioned, or name it twice. */
export function undecidedTransports(): readonly string[] {
  return Object.keys(REQUIREMENTS).flatMap((id) => {
    const row = findRequirement(id)
    if (row === null || row.on.includes('fabric')) {
      return row?.on.length === 1 && row.notOn === undefined ? [] : [`${id} is of the fabric alone`]
    }
    const faults = TRANSPORTS.filter(
      (transport) => row.on.includes(transport) === (row.notOn?.[transport] !== undefined),
    )
    return faults.map((transport) => `${id} does not say whether it holds on ${transport}`)
  })
}
