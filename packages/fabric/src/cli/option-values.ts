import {
  isAgentName,
  isConfidential,
  isPrincipalKey,
  isReservedName,
  loopbackHostnames,
} from '@countersign/protocol'
import { InvalidArgumentError, Option } from 'commander'

const units = { s: 1, m: 60, h: 3_600, d: 86_400 } as const

/** `90`, `90s`, `15m`, `12h` or `30d`, in seconds. */
export function parseSeconds(text: string): number {
  const [, count = '', unit = 's'] = /^(\d{1,9})([smhd])?$/.exec(text) ?? []
  if (count === '') throw new InvalidArgumentError('A duration is a number with s, m, h or d.')
  return Number(count) * units[unit as keyof typeof units]
}

/** An option that takes a duration, with a default that help shows as a user would write it. */
export function timeOption(
  flags: string,
  description: string,
  {
    byDefault,
    min,
    max,
  }: { readonly byDefault: string; readonly min: string; readonly max: string },
): Option {
  const parse = (text: string): number => {
    const seconds = parseSeconds(text)
    if (seconds >= parseSeconds(min) && seconds <= parseSeconds(max)) return seconds
    throw new InvalidArgumentError(`It is between ${min} and ${max}.`)
  }
  return new Option(flags, `${description}; ${min} to ${max}`)
    .argParser(parse)
    .default(parseSeconds(byDefault), byDefault)
}

/** `2026-11-29T03:00:00.123Z`, in Unix milliseconds. */
export function parseTime(text: string): number {
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$/.test(text)
  const time = isTime ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(time)) return time
  throw new InvalidArgumentError('A time is written as 2026-11-29T03:00:00.123Z.')
}

export function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : -1
  if (port < 0 || port > 65_535) throw new InvalidArgumentError('A port is between 0 and 65535.')
  return port
}

export function parseCount(text: string): number {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : 0
  if (count < 1) throw new InvalidArgumentError('A whole number from 1 is expected.')
  return count
}

/** Names of agents, channels, roles and segments. */
export function parseName(text: string): string {
  if (isAgentName(text)) return text
  throw new InvalidArgumentError(
    'A name has lower-case letters, digits, dot, dash and underscore, 63 at most, and begins and ends with a letter or digit.',
  )
}

/** The name of a principal, or the canonical form of one of another issuer. */
export function parsePrincipalName(text: string): string {
  return isPrincipalKey(text) ? text : parseName(text)
}

/** The name of a principal, route or channel that is to be made or spoken for. */
export function parseAssignableName(text: string): string {
  if (!isReservedName(text)) return parseName(text)
  throw new InvalidArgumentError(`${text} is reserved for the fabric; choose another name.`)
}

/** For options that may be given more than once. */
export function collectNames(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, parseName(text)]
}

/** An empty path would be the current folder. */
export function parsePath(text: string): string {
  if (text !== '' && !text.includes('\0')) return text
  throw new InvalidArgumentError('A path is expected.')
}

export type AttributeValue = string | number | boolean

/** `team=payments`, `clearance=3`, `external=true`: whole numbers and flags become such. */
export function collectAttributes(
  text: string,
  before: Readonly<Record<string, AttributeValue>> = {},
): Readonly<Record<string, AttributeValue>> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('An attribute is written as name=value.')
  return { ...before, [text.slice(0, at)]: attributeValue(text.slice(at + 1)) }
}

function attributeValue(text: string): AttributeValue {
  if (text === 'true' || text === 'false') return text === 'true'
  const number = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  return Number.isNaN(number) ? text : number
}

/** `127.0.0.1:9000`, `localhost:9000` or `[::1]:9000`. */
export function parseHostPort(text: string): { readonly host: string; readonly port: number } {
  const [, host = '', port = ''] = /^(\[[0-9a-f:.]+\]|[^\s:/]+):(\d{1,5})$/i.exec(text) ?? []
  if (host === '') throw new InvalidArgumentError('An address is written as host:port.')
  return { host: host.replace(/^\[|\]$/g, ''), port: parsePort(port) }
}

/** Any process that reaches this address acts as the agent, so it is never a network address. */
export function parseLoopbackPort(text: string): ReturnType<typeof parseHostPort> {
  const address = parseHostPort(text)
  if (loopbackHostnames.has(address.host)) return address
  throw new InvalidArgumentError('The agent’s own side is on loopback: 127.0.0.1:port.')
}

/** The address at which others reach a listener of ours, which accepts TLS only. */
export function parseHttpsOrigin(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url?.protocol === 'https:' && url.href === `${url.origin}/`) return url.origin
  throw new InvalidArgumentError('An address is written as https://host:port, without a path.')
}

/** The URL at which an agent listens: traffic that leaves the machine is encrypted. */
export function parseAgentUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw new InvalidArgumentError('A URL starts with http:// or https://.')
  if (isConfidential(url)) return url.href
  throw new InvalidArgumentError(
    `Plain http to ${url.hostname} would leave this machine in the clear; give an https URL, or run \`countersign connect\` on that machine.`,
  )
}
