/*
 * Forms of values that stand under the name of a secret and are none: where something is, when it
 * happens, and what a program puts together.
 */

/** `PUT /repos/{owner}/secrets`: the route of an interface. */
const route = /^(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) \/[A-Za-z{}/_.:-]*$/
/** RFC 3339, section 5.6. */
const dateTime = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?$/
/** A name of a resource at AWS is not what the resource holds. */
const arn = /^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:\d{0,12}:[\w+=,.@/:*-]*$/
const directory =
  /^\/(?:home|srv|var|tmp|opt|etc|usr|root|run|mnt|data|app|workspaces?|Users|Volumes)(?:\/[A-Za-z_.@+-]+\d{0,4})*\/?$/
/** A pattern of JavaScript, from its start to its end. */
const pattern = /^\/\^[^\n]{0,200}[[(\\][^\n]{0,200}\$\/[dgimsuvy]{0,8},?$/
/** `^1.2.3`, `>=1.2.3 <2`: which versions of a package will do. */
const version =
  /^(?:[~^=v]|[<>]=?)?\s?\d{1,5}\.\d{1,5}\.\d{1,6}(?:-(?:alpha|beta|rc|next|canary|dev|pre)(?:[.-]?\d{1,8}){0,3})?(?:\s(?:[<>]=?)\s?\d{1,5}(?:\.\d{1,5}){0,2})?$|^[<>]=\s?\d{1,3}$/
/** Matches the scope of a permission: `write:users`. */
const scope =
  /^(?:read|write|admin|manage|create|delete|update|list|view|execute)(?::[a-z_.*]{1,32}){1,3}$/
/** `sk-xxxxxxxx`, `(sensitive value)`, `[REDACTED]`: what stands where a secret was left out. */
const omitted =
  /^(?:(?:[a-z]{2,4}[-_]){1,3}x{3,}|[([<](?:sensitive(?: value)?|known after apply|hidden|redacted|masked|filtered|omitted|removed|none|not set|empty)[)\]>])$/i
const resolved =
  /^\{\{resolve:[\w${}:./-]{1,200}\}\}$|^!(?:Ref|GetAtt|ImportValue) [A-Za-z.:-]+$|^!vault \|$/
const role = /^:[a-z]{1,16}(?::[a-z]{1,16}){0,2}:`[^`\d]{1,128}`[^\d]{0,128}$/
/** `var.db_password`, `random_password.db.result`: where Terraform takes a value from. */
const expression = /^(?:var|local|data|module|random_password)(?:\.[A-Za-z_-]{1,64}){1,4}$/

const FORMS: readonly RegExp[] = [
  ...[route, dateTime, arn, directory, pattern, role],
  ...[version, scope, omitted, resolved, expression],
]

const path = '[A-Za-z_$][A-Za-z_$]*\\d{0,2}'
const interpolation = new RegExp(`\\$?\\{(${path}(?:\\.${path})*(?:\\(\\))?)\\}`, 'g')
/** Besides what is put in, only schemes of credentials and what divides. */
const frame = /^(?:basic|bearer|token|digest|[\s:.,/@=-])*$/i

/** `Bearer ${session.accessToken}`: a text in which nothing is but names of what is put in. */
function isTemplate(value: string): boolean {
  if (!value.includes('{')) return false
  let isNamed = true
  const rest = value.replaceAll(interpolation, (_, name: string) => {
    isNamed &&= /[a-z][A-Z]|[_.(]/.test(name)
    return ''
  })
  if (rest.includes('{') || !frame.test(rest)) return false
  return isNamed || /[a-z]/i.test(rest)
}

export const isOrdinary = (value: string): boolean =>
  FORMS.some((form) => form.test(value)) || isTemplate(value)
