/** What a member says of the one beside it, or of itself, when a secret is near. Names are folded. */
const setOf = (text: string): ReadonlySet<string> => new Set(text.split(' '))

/** Holds the name of something. */
export const NAMING = setOf(
  'name key field fieldname header headername label id title param parameter property variable var env envvar k n attribute setting flag option type path',
)
/** Holds what has the name. */
export const HOLDING = setOf(
  'value values val v fieldvalue stringvalue headervalue settingvalue secret default defaultvalue const',
)
/** Holds what has the name, or a text about it: only what looks like a secret counts. */
export const TELLING = setOf('content contents data text body')
/** Below the name of a token or a login, these hold it. */
export const CARRYING = setOf(
  'value values val v stringvalue secret key plain plaintext raw data content text string current new old previous',
)

/** Below the name of a secret, these say something of it: a schema, an error, a user. */
const DESCRIBING = setOf(
  'type kind format description title label placeholder name in ref pattern message msg error errors reason code status state hint help comment note summary user username login account host hostname server uri endpoint email provider issuer realm scheme scopes scope region path file enum examples example items required properties version schema contenttype mimetype algorithm alg method methods role owner field unit visibility policy rules source input autocomplete category flows contentencoding contentmediatype markdowndescription integrity resolved',
)
const describingEnds = /(?:name|names|id|ids|type|url|date|time|at|ref|length|expiry)$/

export const isDescribing = (member: string): boolean =>
  DESCRIBING.has(member) || describingEnds.test(member)

/** Lists of names: a schema's members, columns, choices. Nothing in them has a value. */
export const LISTING = setOf(
  'required enum columns fields names keys tags labels scopes scope methods options choices allowed grants granttypes granttypessupported responsetypes properties exclude include includes omit redact hidden sort order select attributes types categories keywords topics words dependencies depends capabilities permissions roles',
)

const counting =
  /(?:min|max|length|size|count|age|days|hours|minutes|seconds|ms|ttl|timeout|expires|expiresin|expiration|created|updated|changed|modified|rotated|version|index|port|limit|retries|attempts|iterations|rounds|cost|bits|strength|score|rank|timestamp|interval|period|total|year)$|^(?:min|max|num)/

/** Holds a number that counts or dates a secret, and is none. */
export const isCounting = (member: string): boolean => isDescribing(member) || counting.test(member)
