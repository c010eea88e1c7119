/** A Content-Type of which every reader makes the same. */
export interface MediaType {
  /** `type/subtype`, in lower case. */
  readonly essence: string
  /** In lower case; null where the field names none. */
  readonly charset: string | null
  /** Name in lower case and value without quotes, in order. `charset` is among them. */
  readonly parameters: readonly (readonly [string, string])[]
}

const essenceForm =
  /^[ \t]*([A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126})[ \t]*/
/**
 * Without `*`, `%` and `'`: some readers join and decode such parameters (RFC 2231). A parameter
 * may be empty (RFC 9110, section 5.6.6).
 */
const parameterForm =
  /;[ \t]*(?:([A-Za-z0-9_.-]{1,64})=(?:([A-Za-z0-9!#$&^_.+~-]{1,256})|"([ \x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{0,256})")[ \t]*)?/y
const parametersMax = 8

/** The form of nearly every message. */
const plainJson: MediaType = { essence: 'application/json', charset: null, parameters: [] }

/**
 * Parses a Content-Type (RFC 9110, section 8.3.1), or gives null for one that two readers could
 * take for two types: a second `charset` or any other parameter twice, a parameter that only some
 * would find (`x-charset=`, `charset*=`, or one inside a quoted value), text that is not a
 * parameter. Blanks before a semicolon and empty parameters are read; `plainMediaType` leaves them
 * out.
 */
export function parseMediaType(field: string): MediaType | null {
  if (field === plainJson.essence) return plainJson
  const match = essenceForm.exec(field)
  if (match === null || /charset/i.test(match[0])) return null
  const parameters: (readonly [string, string])[] = []
  let at = match[0].length
  while (at < field.length) {
    parameterForm.lastIndex = at
    const found = parameterForm.exec(field)
    if (found === null) return null
    at += found[0].length
    if (found[1] === undefined) continue
    if (parameters.length === parametersMax) return null
    const name = found[1].toLowerCase()
    const value = found[2] ?? found[3] ?? ''
    if (parameters.some(([known]) => known === name)) return null
    // A reader that looks for the word anywhere in the field would find another charset than we do.
    const searched = name === 'charset' ? value : name + value
    if (/charset/i.test(searched) || (name === 'charset' && value === '')) return null
    parameters.push([name, value])
  }
  const charset = parameters.find(([name]) => name === 'charset')?.[1].toLowerCase() ?? null
  return { essence: (match[1] ?? '').toLowerCase(), charset, parameters }
}

/** Blanks before a semicolon, parameters that are empty, and blanks at the ends. */
const unusual = /[ \t];|;[ \t]*(?:;|$)|^[ \t]|[ \t]$/

/**
 * The field for a next reader, of which some take what is unusual for part of what is before it.
 * One that is written as usual stays as it is, since a signature may cover it.
 */
export function plainMediaType(field: string): string {
  if (field === plainJson.essence || !unusual.test(field)) return field
  const media = parseMediaType(field)
  if (media === null) return field
  const parameters = media.parameters.map(([name, value]) => {
    const isToken = /^[A-Za-z0-9!#$&^_.+~-]+$/.test(value)
    return `; ${name}=${isToken ? value : `"${value}"`}`
  })
  return `${media.essence}${parameters.join('')}`
}

const jsonForm = /^(?:application|text)\/(?:json|[a-z0-9!#$&^_.+-]+\+json)$/

/**
 * Reports whether receivers parse content of this type as JSON (RFC 8259, section 11; RFC 6839,
 * section 3.1).
 */
export function isJsonEssence(essence: string): boolean {
  return jsonForm.test(essence)
}
