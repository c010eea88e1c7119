import { EvaluationError } from './evaluation-error.ts'

/** One address, or a network with its prefix, as written: host bits are kept. */
export interface IpValue {
  readonly extension: 'ipaddr'
  readonly bits: 32 | 128
  readonly address: bigint
  readonly prefix: number
}

const octet = '(0|[1-9][0-9]{0,2})'
const ipv4Form = new RegExp(`^${octet}\\.${octet}\\.${octet}\\.${octet}$`)
const prefixForm = /^(?:0|[1-9][0-9]{0,2})$/
const groupForm = /^[0-9a-fA-F]{1,4}$/

export function parseIp(text: string): IpValue {
  const [address = '', prefixText, ...rest] = text.split('/')
  const bits = address.includes(':') ? 128 : 32
  const parsed = bits === 32 ? parseIpv4(address) : parseIpv6(address)
  const prefix = prefixText === undefined ? bits : parsePrefix(prefixText)
  if (parsed === null || prefix === null || prefix > bits || rest.length > 0) {
    throw new EvaluationError(`"${text}" is not an IP address or network`)
  }
  return { extension: 'ipaddr', bits, address: parsed, prefix }
}

function parsePrefix(text: string): number | null {
  return prefixForm.test(text) ? Number(text) : null
}

function parseIpv4(text: string): bigint | null {
  const octets = ipv4Form.exec(text)?.slice(1).map(Number)
  if (octets === undefined || octets.some((value) => value > 255)) return null
  return octets.reduce((sum, value) => sum * 256n + BigInt(value), 0n)
}

/** Without embedded IPv4: Cedar refuses it, because one address would have two spellings. */
function parseIpv6(text: string): bigint | null {
  const [head = '', tail, ...more] = text.split('::')
  if (more.length > 0) return null
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const missing = 8 - before.length - after.length
  if (tail === undefined ? missing !== 0 : missing < 1) return null
  const groups = [...before, ...Array.from({ length: missing }, () => '0'), ...after]
  if (!groups.every((group) => groupForm.test(group))) return null
  return groups.reduce((sum, group) => sum * 65_536n + BigInt(`0x${group}`), 0n)
}

function firstAndLast(ip: IpValue): readonly [bigint, bigint] {
  const hostBits = BigInt(ip.bits - ip.prefix)
  const first = (ip.address >> hostBits) << hostBits
  return [first, first | ((1n << hostBits) - 1n)]
}

export function isInRange(ip: IpValue, network: IpValue): boolean {
  if (ip.bits !== network.bits) return false
  const [first, last] = firstAndLast(ip)
  const [from, to] = firstAndLast(network)
  return first >= from && last <= to
}

const loopback = [parseIp('127.0.0.0/8'), parseIp('::1')]
const multicast = [parseIp('224.0.0.0/4'), parseIp('ff00::/8')]

export function isLoopback(ip: IpValue): boolean {
  return loopback.some((network) => isInRange(ip, network))
}

export function isMulticast(ip: IpValue): boolean {
  return multicast.some((network) => isInRange(ip, network))
}
