/**
 * Member names that describe the member next to them, or themselves, when a secret is near. Names
 * are folded by `foldMember`.
 */
const setOf = (text: string): ReadonlySet<string> => new Set(text.split(' '))

/** Holds the name of something. */
export const NAMING = setOf(
  'name key field fieldname fieldkey header headername headerkey label id title param parameter property variable var env envvar k n attribute setting settingkey settingname flag option optionkey optionname type path',
)
/** Holds what has the name. */
export const HOLDING = setOf(
  'value values val v fieldvalue stringvalue headervalue settingvalue optionvalue secret default defaultvalue const',
)
/** Holds what has the name, or a text about it: only what looks like a secret counts. */
export const TELLING = setOf('content contents data text body')
/** Below the name of a token or a login, these hold it. */
export const CARRYING = setOf(
  'value values val v stringvalue secret key plain plaintext raw data content text string current new old previous',
)

/** Below the name of a secret, these members describe it: a schema, an error, a user. */
const DESCRIBING = setOf(
  'type kind format description title label placeholder name in ref pattern message msg error errors reason code status state hint help comment note summary user username login account host hostname server uri endpoint email provider issuer realm scheme scopes scope region path file enum examples example items required properties version schema contenttype mimetype algorithm alg method methods role owner field unit visibility policy rules source input autocomplete category flows contentencoding contentmediatype markdowndescription integrity resolved',
)
const DESCRIBING_ENDS = setOf('name names id ids type url date time at ref length expiry')

/**
 * Of names in one word, before an end: `userid`, `expiresat`; `android` and `candidate` have none.
 */
const compound =
  /^(?:user|client|key|secret|token|password|account|tenant|project|app|object|session|request|resource|created|create|updated|update|expires|expire|issued|modified|changed|deleted|rotated|last|first|full|display|file|host|domain|group|role|grant|auth|mime|base|redirect|callback|start|end|max|min|not|sign|verify|salt|hash|iv|nonce)(?=[a-z])/

const WORD = /[A-Z]?[a-z]+|[A-Z]+(?![a-z])/g

/** Reports whether the last word of a name is in `ends`. */
function endsIn(ends: ReadonlySet<string>, name: string): boolean {
  const last = name.match(WORD)?.at(-1)?.toLowerCase() ?? ''
  return ends.has(last) || ends.has(last.replace(compound, ''))
}

export const foldMember = (name: string): string =>
  /^[a-z\d]*$/.test(name) ? name : name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')

/** Of a name as it is written, since its words count. */
export const isDescribing = (name: string): boolean =>
  DESCRIBING.has(foldMember(name)) || endsIn(DESCRIBING_ENDS, name)

/** Lists of names: a schema's members, columns, choices. Nothing in them has a value. */
export const LISTING = setOf(
  'required enum columns fields names keys tags labels scopes scope methods options choices allowed grants granttypes granttypessupported responsetypes properties exclude include includes omit redact hidden sort order select attributes types categories keywords topics words dependencies depends capabilities permissions roles',
)

const COUNTING_ENDS = setOf(
  'min max length size count age days hours minutes seconds ms ttl timeout expires expiresin expiration created updated changed modified rotated version index port limit retries attempts iterations rounds cost bits strength score rank timestamp interval period total year in',
)
const countingStart = /^(?:min|max|num)(?![a-z])|^(?:min|max)/

/** Holds a number that counts or dates a secret, and is none. */
export const isCounting = (name: string): boolean =>
  isDescribing(name) || countingStart.test(name) || endsIn(COUNTING_ENDS, name)
