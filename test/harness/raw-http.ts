import { connect as connectPlain, type Socket } from 'node:net'
import { connect, createSecureContext, type SecureContext } from 'node:tls'
import { type TlsCredential, toPem } from '@countersign/protocol/tls'

/** One response, as parsed from its bytes. */
export interface Heard {
  readonly status: number
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, readonly string[]>
  readonly body: Buffer
}

export interface Place {
  readonly port: number
  /** Null for plain HTTP, undefined for a TLS peer without a certificate. */
  readonly credential?: TlsCredential | null | undefined
  readonly session?: Buffer
  /** Of the caller; the machine chooses it otherwise. */
  readonly localAddress?: string
  /** Answers to HEAD state how long a body would be, and have none. */
  readonly isBodiless?: boolean
}

/**
 * Longer silence means that the peer neither answers nor hangs up. Above every wait that a test
 * makes the peer take (a lease of 20 s, 10 s for a change to travel), and below a test's own limit.
 */
const silenceMsMax = 120_000

/**
 * Writes exactly these bytes on a connection of their own, and gives every whole response that came
 * back before the peer hung up, or before `wanted` responses were complete.
 */
export async function talk(
  place: Place,
  parts: readonly (string | Uint8Array)[],
  wanted: number = 1,
): Promise<readonly Heard[]> {
  const socket = await dial(place)
  const { isBodiless = false } = place
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0)
    let ended = false
    const finish = (): void => {
      if (ended) return
      ended = true
      clearTimeout(timer)
      socket.destroy()
      resolve(parseResponses(bytes, { ended: true, isBodiless }))
    }
    const timer = setTimeout(() => {
      ended = true
      socket.destroy()
      reject(new Error(`the peer fell silent after ${bytes.toString('latin1').slice(0, 200)}`))
    }, silenceMsMax)
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      if (parseResponses(bytes, { ended: false, isBodiless }).length >= wanted) finish()
    })
    socket.on('error', () => undefined)
    socket.on('close', finish)
    for (const part of parts) socket.write(part)
  })
}

/**
 * Asks one after the other on one connection, each when the answer before is whole: a handshake
 * costs more than most answers. If the peer hangs up after an answer, the next one dials again.
 */
export async function talkInTurn(
  place: Place,
  requests: readonly (readonly (string | Uint8Array)[])[],
): Promise<readonly Heard[]> {
  const heard: Heard[] = []
  let socket: Socket | null = null
  try {
    for (const parts of requests) {
      socket ??= await dial(place)
      const answer = await ask(socket, parts)
      heard.push(answer)
      if (answer.headers.get('connection')?.includes('close') !== true) continue
      socket.destroy()
      socket = null
    }
  } finally {
    socket?.destroy()
  }
  return heard
}

/** The answer to these bytes on a connection that is up. */
export function ask(socket: Socket, parts: readonly (string | Uint8Array)[]): Promise<Heard> {
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0)
    const stop = (): void => {
      clearTimeout(timer)
      socket.off('data', take).off('close', hungUp)
    }
    const fail = (what: string): void => {
      stop()
      reject(new Error(`the peer ${what} after ${bytes.toString('latin1').slice(0, 200)}`))
    }
    const hungUp = (): void => fail('hung up')
    const take = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk])
      const heard = parseHeard(bytes, false)
      if (heard === null) return
      stop()
      resolve(heard)
    }
    const timer = setTimeout(() => fail('fell silent'), silenceMsMax)
    socket.on('data', take).on('close', hungUp)
    if (socket.listenerCount('error') === 0) socket.on('error', () => undefined)
    for (const part of parts) socket.write(part)
  })
}

/**
 * A connection that is up; for a TLS peer that hangs up at once, one that is about to close. Its
 * writes leave at once: on a connection that is used again, a body would wait 40 ms for the peer's
 * delayed acknowledgement of the head.
 */
export function dial({ port, credential, session, localAddress }: Place): Promise<Socket> {
  const host = '127.0.0.1'
  const from = localAddress === undefined ? {} : { localAddress }
  return new Promise((resolve, reject) => {
    if (credential === null) {
      const plain = connectPlain({ port, host, ...from }, () => resolve(plain)).setNoDelay(true)
      plain.once('error', reject)
      return
    }
    const secure = connect({
      ...{ host, port, ...from },
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
      ...(session === undefined ? {} : { session }),
      ...(credential === undefined ? {} : { secureContext: contextOf(credential) }),
    })
    secure.setNoDelay(true)
    secure.once('secureConnect', () => resolve(secure))
    secure.once('error', reject)
  })
}

const contexts = new WeakMap<TlsCredential, SecureContext>()

/** Made once for each credential: reading keys and chains takes as long as some answers. */
function contextOf(credential: TlsCredential): SecureContext {
  const known = contexts.get(credential)
  if (known !== undefined) return known
  const context = createSecureContext(pemOf(credential))
  contexts.set(credential, context)
  return context
}

export function pemOf(credential: TlsCredential): { cert: string; key: string } {
  const { certificateChain, privateKey } = credential
  return {
    cert: certificateChain.map((each) => toPem(each)).join(''),
    key:
      typeof privateKey === 'string'
        ? privateKey
        : privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

/** The first whole response of these bytes, or null. */
export function parseHeard(bytes: Buffer, ended: boolean): Heard | null {
  return parseResponses(bytes, { ended, isBodiless: false })[0] ?? null
}

/** Every whole response; with `ended`, one without a length is whole as well. */
function parseResponses(
  bytes: Buffer,
  { ended, isBodiless }: { readonly ended: boolean; readonly isBodiless: boolean },
): readonly Heard[] {
  const heard: Heard[] = []
  let at = 0
  for (;;) {
    const end = bytes.indexOf('\r\n\r\n', at, 'latin1')
    if (end < 0) return heard
    const [first = '', ...lines] = bytes.subarray(at, end).toString('latin1').split('\r\n')
    const status = Number(first.split(' ')[1])
    const headers = parseFields(lines)
    const body =
      isBodiless || status < 200 || status === 204 || status === 304
        ? { bytes: Buffer.alloc(0), next: end + 4 }
        : bodyAt(bytes, end + 4, { headers, ended })
    if (body === null) return heard
    at = body.next
    if (status >= 200) heard.push({ status, headers, body: body.bytes })
  }
}

function parseFields(lines: readonly string[]): Map<string, string[]> {
  const headers = new Map<string, string[]>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 1).trim()])
  }
  return headers
}

interface BodyRules {
  readonly headers: ReadonlyMap<string, readonly string[]>
  readonly ended: boolean
}

function bodyAt(
  bytes: Buffer,
  from: number,
  { headers, ended }: BodyRules,
): { bytes: Buffer; next: number } | null {
  const length = headers.get('content-length')?.[0]
  if (length !== undefined) {
    const next = from + Number(length)
    return next > bytes.length ? null : { bytes: bytes.subarray(from, next), next }
  }
  if (headers.get('transfer-encoding')?.[0] === 'chunked') return chunkedBody(bytes, from, ended)
  return ended ? { bytes: bytes.subarray(from), next: bytes.length } : null
}

function chunkedBody(
  bytes: Buffer,
  from: number,
  ended: boolean,
): { bytes: Buffer; next: number } | null {
  const chunks: Buffer[] = []
  let at = from
  for (;;) {
    const line = bytes.indexOf('\r\n', at, 'latin1')
    const size = line < 0 ? Number.NaN : Number.parseInt(bytes.toString('latin1', at, line), 16)
    if (Number.isNaN(size))
      return ended ? { bytes: Buffer.concat(chunks), next: bytes.length } : null
    if (size === 0) return { bytes: Buffer.concat(chunks), next: line + 4 }
    if (line + 2 + size > bytes.length) {
      return ended ? { bytes: Buffer.concat(chunks), next: bytes.length } : null
    }
    chunks.push(bytes.subarray(line + 2, line + 2 + size))
    at = line + 2 + size + 2
  }
}
