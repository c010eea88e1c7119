import { createHash, createPublicKey, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, request as httpsRequest, type RequestOptions, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { TLSSocket } from 'node:tls'
import {
  commitmentInput,
  createExchangeId,
  createReceipt,
  createSignatureBase,
  createSignatureInput,
  type DisclosedFact,
  type EntryKind,
  type ExchangeId,
  encodeFact,
  encodeLeaf,
  enrollmentProofBytes,
  type FactValue,
  fieldValues,
  formatCheckpoint,
  formatContentDigest,
  formatNote,
  formatTlogProof,
  formatVkey,
  type HeaderList,
  hashLeafWith,
  hashNodeWith,
  KEY_CERTIFICATE_FIELD,
  type KeyCertificate,
  keyThumbprint,
  logOrigin,
  noteKeyIdWith,
  noteKeyType,
  parseBase64Url,
  parseEnrollmentRequest,
  parseRenewalRequest,
  parseSpiffeId,
  readSignedRequest,
  readSignedResponse,
  requestProfileFault,
  slotCertificate,
  slotJson,
  streamedBody,
  TRUST_VERSION,
  toBase64,
  toBase64Url,
  utf8,
  verifyEd25519,
} from '@countersign/protocol'
import {
  clientTlsOptions,
  PeerFault,
  peerIdentity,
  serverTlsOptions,
  type TlsCredential,
  TrustBundles,
} from '@countersign/protocol/tls'
import { formatJoin } from '../../packages/sdk/src/index.ts'
import { certified } from './certified.ts'
import { hourMs, signingKey, TestAuthority, trustDomain } from './sdk-authority.ts'

const origin = logOrigin(trustDomain, 'a')
const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())

interface Entry {
  readonly kind: EntryKind
  readonly exchange: string
  readonly facts: Readonly<Record<string, FactValue>>
}

interface Answer {
  status: number
  headers: [string, string][]
  body: Uint8Array
}

/** The identity that a connection to an agent shows; the fabric's own certificate by default. */
export interface Shown {
  anonymous?: boolean
  credential?: TlsCredential
}

/** The behaviour in which a hostile, or merely strict, fabric differs. */
export interface Deviations {
  refuseCall?: string
  refuseRenewal?: string
  renewAs?: string
  /** Changes the answer after it was put on record. */
  answer?: (answer: Answer) => void
  /** Replaces the exchange whose receipt is asked for. */
  receiptOf?: (exchange: string) => string
  receipt?: (bytes: Uint8Array) => Uint8Array
  /** Changes what is forwarded after it was signed. */
  forwarded?: (headers: [string, string][]) => void
  forwardTwice?: boolean
  facts?: (facts: Record<string, FactValue>, kind: EntryKind) => void
  cutStream?: boolean
  /** Passes an event on, or not, after it was put on record. */
  passEvent?: (chunk: string) => boolean
  /** Changes the frames of a streamed request after they were put on record. */
  requestFrames?: (lines: string[]) => string[]
  /** Changes the frames of the answer to it, likewise. */
  responseFrames?: (lines: string[]) => string[]
  trust?: (document: Record<string, unknown>) => void
}

/** A fabric small enough for a test: real TLS, real signatures, a real log of what crossed it. */
export class TestFabric {
  readonly deviations: Deviations = {}
  readonly authority: TestAuthority
  readonly bundles = new TrustBundles()
  readonly keys = new Map<string, { name: string; publicKey: Uint8Array }>()
  readonly endpoints = new Map<string, string>()
  readonly refusals: string[] = []
  /** `Countersign-Timeout` of each call that had one. */
  readonly timeouts: string[] = []
  lifetimeMs = hourMs
  enrolments = 0
  renewals = 0
  responses: HeaderList[] = []
  url = ''
  readonly #tokens = new Map<string, string>()
  readonly #log = signingKey()
  readonly #forward = signingKey()
  readonly #slots = signingKey()
  readonly certified = this.certify()
  readonly #entries = new Map<string, Entry[]>()
  #server: Server | null = null
  readonly #credential: TlsCredential

  private constructor(authority: TestAuthority, credential: TlsCredential) {
    this.authority = authority
    this.#credential = credential
    this.bundles.set(trustDomain, { sequence: 1, roots: [authority.root] })
  }

  static async start(serveAs?: TlsCredential): Promise<TestFabric> {
    const authority = await TestAuthority.create()
    const own = await authority.credential(`spiffe://${trustDomain}/fabric/one`)
    const fabric = new TestFabric(authority, own)
    const options = serverTlsOptions({ ...(serveAs ?? own), requestPeer: 'optional' })
    const server = createServer(options, (request, response) => {
      fabric.#route(request, response).catch(() => response.destroy())
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    fabric.#server = server
    fabric.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    return fabric
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((resolve) => this.#server?.close(resolve))
  }

  join(name: string): string {
    const token = `csj_${randomBytes(8).toString('hex')}_${randomBytes(16).toString('hex')}`
    this.#tokens.set(token, name)
    return formatJoin({ url: this.url, token, rootSha256: sha256(this.authority.root) })
  }

  /** A key that signs what is forwarded, certified as `stated`. */
  certify(stated: Partial<KeyCertificate> = {}, certifier = this.#slots) {
    return certified(certifier, signingKey(), { trustDomain, ...stated })
  }

  trustDocument(): Record<string, unknown> {
    const noteKey = { name: origin, type: noteKeyType.ed25519, publicKey: this.#log.publicKey }
    const slot = {
      ...{ slot: 'a', origin },
      vkey: formatVkey({ ...noteKey, keyId: noteKeyIdWith(sha256, noteKey) }),
    }
    const signature = this.#slots.sign(slotCertificate(trustDomain, slot))
    const document: Record<string, unknown> = {
      v: TRUST_VERSION,
      trustDomain,
      bundle: [toBase64(this.authority.root)],
      slotKey: toBase64(this.#slots.publicKey),
      slots: [slotJson({ ...slot, signature })],
      fabricKey: { keyId: 'fabric-1', publicKey: toBase64(this.#forward.publicKey) },
      enrollmentKey: toBase64(Uint8Array.of(9, ...new Uint8Array(31))),
    }
    this.deviations.trust?.(document)
    return document
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? ''
    const body = await readBody(request)
    if (path === '/v1/trust') return json(response, this.trustDocument())
    if (path === '/v1/enroll') return this.#enroll(response, body)
    const caller = this.#callerOf(request)
    if (caller === null) return refuse(response, 'CREDENTIAL_MISSING', 401)
    if (path === '/v1/renew') return this.#renew(response, caller, body)
    if (path === '/v1/mesh/endpoints') return this.#register(response, caller, body)
    if (path.startsWith('/v1/receipts/')) return this.#sendReceipt(response, path.slice(13))
    if (path.startsWith('/v1/channels/')) return this.#refuseChannel(request, response, body)
    if (path.startsWith('/agents/')) return this.#call({ request, response, caller, body })
    return refuse(response, 'OPERATION_UNKNOWN', 404)
  }

  /** This fabric has no channels, but only a signed request receives that answer. */
  async #refuseChannel(request: IncomingMessage, response: ServerResponse, body: Uint8Array) {
    const { method = '', url: path = '' } = request
    const headers = headerList(request.rawHeaders)
    const asked = { method, path, authority: request.headers.host ?? '', headers }
    const signed = readSignedRequest(asked)
    const key = this.keys.get(signed?.keyId ?? '')
    const isOurs =
      signed !== null &&
      key !== undefined &&
      requestProfileFault(signed, { ...asked, hasBody: body.length > 0 }) === null &&
      (await verifyEd25519(key.publicKey, signed.signature, utf8(signed.base)))
    refuse(response, isOurs ? 'OPERATION_UNKNOWN' : 'SIGNATURE_REJECTED', 404)
  }

  #callerOf(request: IncomingMessage): string | null {
    if (!(request.socket instanceof TLSSocket)) return null
    const peer = peerIdentity(request.socket, this.bundles, Date.now())
    return peer instanceof PeerFault ? null : peer.spiffeId
  }

  async #enroll(response: ServerResponse, body: Uint8Array): Promise<void> {
    const asked = parseEnrollmentRequest(JSON.parse(Buffer.from(body).toString()))
    const name = this.#tokens.get(asked.token)
    if (name === undefined) return refuse(response, 'CREDENTIAL_REJECTED', 401)
    this.#tokens.delete(asked.token)
    const bytes = (text: string) => parseBase64Url(text) ?? new Uint8Array(0)
    const publicKey = bytes(asked.signingKey)
    const proof = await enrollmentProofBytes({
      token: asked.token,
      tlsKey: bytes(asked.tlsKey),
      signingKey: publicKey,
      sealingKey: bytes(asked.sealingKey),
    })
    if (!(await verifyEd25519(publicKey, bytes(asked.signingProof), proof))) {
      return refuse(response, 'CREDENTIAL_REJECTED', 401)
    }
    this.enrolments += 1
    const signingKeyId = await keyThumbprint('Ed25519', publicKey)
    const sealingKeyId = await keyThumbprint('X25519', bytes(asked.sealingKey))
    this.keys.set(signingKeyId, { name, publicKey })
    return json(
      response,
      await this.#grant({ name, tlsKey: asked.tlsKey, signingKeyId, sealingKeyId }),
    )
  }

  async #grant(of: { name: string; tlsKey: string; signingKeyId: string; sealingKeyId: string }) {
    const spiffeId = `spiffe://${trustDomain}/agent/${of.name}`
    const tlsKey = createPublicKey({
      key: Buffer.from(of.tlsKey, 'base64url'),
      format: 'der',
      type: 'spki',
    })
    const leaf = await this.authority.issue(spiffeId, tlsKey, this.lifetimeMs)
    return {
      version: 1,
      spiffeId,
      name: of.name,
      signingKeyId: of.signingKeyId,
      sealingKeyId: of.sealingKeyId,
      certificateChain: [toBase64Url(leaf)],
      bundles: { [trustDomain]: { sequence: 1, roots: [toBase64Url(this.authority.root)] } },
      expiresAt: Date.now() + this.lifetimeMs,
    }
  }

  async #renew(response: ServerResponse, caller: string, body: Uint8Array): Promise<void> {
    this.renewals += 1
    if (this.deviations.refuseRenewal !== undefined)
      return refuse(response, this.deviations.refuseRenewal, 403)
    const { tlsKey } = parseRenewalRequest(JSON.parse(Buffer.from(body).toString()))
    const name = this.deviations.renewAs ?? parseSpiffeId(caller)?.name ?? ''
    const own = parseSpiffeId(caller)?.name
    const [signingKeyId = ''] = [...this.keys].find(([, each]) => each.name === own) ?? []
    const stored = this.sealingKeyIds.get(own ?? '') ?? ''
    return json(response, await this.#grant({ name, tlsKey, signingKeyId, sealingKeyId: stored }))
  }

  readonly sealingKeyIds = new Map<string, string>()

  #register(response: ServerResponse, caller: string, body: Uint8Array): void {
    const { endpoints } = JSON.parse(Buffer.from(body).toString()) as {
      endpoints: { url: string }[]
    }
    const name = parseSpiffeId(caller)?.name ?? ''
    const [first] = endpoints
    if (first === undefined) this.endpoints.delete(name)
    else this.endpoints.set(name, first.url)
    return json(response, {})
  }

  async #call(visit: {
    request: IncomingMessage
    response: ServerResponse
    caller: string
    body: Uint8Array
  }): Promise<void> {
    const { request, response, caller, body } = visit
    const id = createExchangeId('a', Date.now(), randomBytes(10))
    const [, , name = '', ...rest] = (request.url ?? '').split('/')
    const headers = headerList(request.rawHeaders)
    const asked = { method: request.method ?? '', path: request.url ?? '', authority: 'x', headers }
    this.timeouts.push(...fieldValues('countersign-timeout', headers))
    const signed = readSignedRequest(asked)
    const key = this.keys.get(signed?.keyId ?? '')
    if (
      signed === null ||
      key === undefined ||
      `spiffe://${trustDomain}/agent/${key.name}` !== caller
    ) {
      return refuse(response, 'SIGNATURE_REJECTED', 401)
    }
    if (!(await verifyEd25519(key.publicKey, signed.signature, utf8(signed.base)))) {
      return refuse(response, 'SIGNATURE_REJECTED', 401)
    }
    if (this.deviations.refuseCall !== undefined)
      return refuse(response, this.deviations.refuseCall, 403, id)
    const url = this.endpoints.get(name)
    if (url === undefined) return refuse(response, 'RECEIVER_UNREACHABLE', 502, id)
    const lines = isStream(headers) ? linesOf(body) : null
    this.#record(id, 'intent', {
      ...{ transport: 'gateway', protocol: 'http' },
      caller,
      receiver: name,
      operation: asked.method,
      ...(lines === null
        ? {
            'request.digest': sha256(body),
            'request.signature': signed.signature,
            'request.signature-base': signed.base,
            'request.key': key.publicKey,
            'attested.request': 'caller',
          }
        : {
            'request.digest': sha256(utf8(lines[0] ?? '')),
            'request.streamed': 'ndjson',
            'attested.request': 'fabric',
          }),
    })
    const path = `/${rest.join('/')}`
    const isStreamed = lines !== null
    const forward = this.forwarded({ id, caller, name, body, path, asked, isStreamed })
    this.deviations.forwarded?.(forward.headers)
    const passed = this.deviations.requestFrames?.(lines ?? []) ?? lines
    const forwardedBody = passed === null ? body : utf8(passed.map((line) => `${line}\n`).join(''))
    const upstream = await this.send(url, name, { ...forward, body: forwardedBody })
    if (this.deviations.forwardTwice === true) {
      const again = await this.send(url, name, { ...forward, body })
      this.refusals.push(String(again.headers['countersign-refusal']))
      again.resume()
    }
    await this.#answer(upstream, { id, forward, response, name, lines })
  }

  /** The same construction as in the product, by other hands. */
  forwarded(of: {
    id: string
    caller: string
    name: string
    body: Uint8Array
    path: string
    asked: { method: string; headers: HeaderList }
    isStreamed?: boolean
    /** In place of `streamed`. */
    statement?: string
    createdMs?: number
    key?: { keyId: string; certificate?: string; sign: (bytes: Uint8Array) => Uint8Array }
  }) {
    const one = (name: string) => fieldValues(name, of.asked.headers)[0]
    const type = one('content-type')
    const headers: [string, string][] = [
      ...(type === undefined ? [] : [['content-type', type] as [string, string]]),
      ['host', 'callee'],
      ['countersign-exchange', of.id],
      ['countersign-from', of.caller],
      ['countersign-to', `spiffe://${trustDomain}/agent/${of.name}`],
    ]
    const components = ['"@method"', '"@path"']
    if (of.path.includes('?')) components.push('"@query"')
    if (of.isStreamed === true) {
      headers.push([streamedBody[0], of.statement ?? streamedBody[1]])
      components.push('"countersign-body"')
    } else if (of.body.length > 0) {
      headers.push(['content-digest', formatContentDigest(sha256(of.body))])
      components.push('"content-digest"')
    }
    components.push('"countersign-exchange"', '"countersign-from"', '"countersign-to"')
    const { certificate } = of.key ?? this.certified
    if (certificate !== undefined) headers.push([KEY_CERTIFICATE_FIELD, certificate])
    const given = of.isStreamed === true ? [] : [one('signature-input'), one('signature')]
    const [inputs, signatures] = given
    if (inputs !== undefined && signatures !== undefined) {
      headers.push(['signature-input', inputs], ['signature', signatures])
      components.push('"signature";key="caller"')
    }
    const signer = of.key ?? this.certified
    const input = createSignatureInput({
      components,
      created: Math.floor((of.createdMs ?? Date.now()) / 1000),
      keyId: signer.keyId,
      nonce: of.id,
      tag: 'countersign-forward',
    })
    const unsigned = { method: of.asked.method, path: of.path, authority: '', headers }
    const base = createSignatureBase(input, unsigned)
    const signature = signer.sign(utf8(base))
    const join = (known: string | undefined, own: string) =>
      known === undefined ? own : `${known}, ${own}`
    const rest = headers.filter(([name]) => !name.startsWith('signature'))
    return {
      ...unsigned,
      // Of a request that its caller did not sign, in the outcome.
      facts: {
        'forwarded.signature': signature,
        'forwarded.signature-base': base,
        'forwarded.key': this.certified.publicKey,
      },
      headers: [
        ...rest,
        ['signature-input', join(inputs, `fabric=${input}`)],
        ['signature', join(signatures, `fabric=:${toBase64(signature)}:`)],
      ] as [string, string][],
    }
  }

  async send(
    url: string,
    name: string,
    request: { method: string; path: string; headers: [string, string][]; body: Uint8Array },
    { anonymous = false, credential = this.#credential }: Shown = {},
  ): Promise<IncomingMessage> {
    const tls = clientTlsOptions({
      bundles: this.bundles,
      now: Date.now,
      expected: `spiffe://${trustDomain}/agent/${name}`,
      ...(anonymous ? {} : { credential }),
    })
    const options = {
      ...tls,
      agent: false,
      method: request.method,
      headers: request.headers.flat(),
    } as RequestOptions
    const out = httpsRequest(new URL(request.path, url), options)
    const answered = once(out, 'response') as Promise<[IncomingMessage]>
    out.end(request.body)
    const [response] = await answered
    return response
  }

  async #answer(
    upstream: IncomingMessage,
    of: {
      id: string
      name: string
      forward: ReturnType<TestFabric['forwarded']>
      response: ServerResponse
      lines: readonly string[] | null
    },
  ): Promise<void> {
    const headers = headerList(upstream.rawHeaders)
    this.responses.push(headers)
    const status = upstream.statusCode ?? 0
    const signed = readSignedResponse({ status, headers }, of.forward)
    const key = this.keys.get(signed?.keyId ?? '')
    const attested: Record<string, FactValue> =
      signed === null || key === undefined
        ? { 'attested.response': 'fabric' }
        : {
            'response.signature': signed.signature,
            'response.signature-base': signed.base,
            'response.key': key.publicKey,
            'attested.response': 'callee',
          }
    const frames = of.lines === null ? {} : { ...transcriptFacts(of.lines), ...of.forward.facts }
    const facts = { result: 'delivered', status, ...attested, ...frames }
    const kept = headers.filter(([name]) => name === 'content-type').map(([n, v]) => [n, v])
    const own = [['countersign-exchange', of.id], ...kept] as [string, string][]
    if (headers.some(([, value]) => value.startsWith('text/event-stream'))) {
      of.response.writeHead(status, own.flat())
      of.response.flushHeaders()
      of.response.once('close', () => upstream.destroy())
      const transcript = createHash('sha256')
      for await (const chunk of upstream as AsyncIterable<Uint8Array>) {
        for (const [, data = ''] of Buffer.from(chunk)
          .toString()
          .matchAll(/data: (.*)\n\n/g)) {
          const length = Buffer.alloc(4)
          length.writeUInt32BE(Buffer.byteLength(data))
          transcript.update(length).update(data)
        }
        const text = Buffer.from(chunk).toString()
        if (this.deviations.passEvent?.(text) !== false) of.response.write(chunk)
      }
      if (this.deviations.cutStream === true) {
        of.response.write('event: countersign-refusal\ndata: {"code":"WITHDRAWN"}\n\n')
      }
      const isCut = this.deviations.cutStream === true
      const ending = isCut ? { result: 'cut', code: 'WITHDRAWN' } : { result: 'completed' }
      this.#record(of.id, 'outcome', { ...facts, ...ending, transcript: transcript.digest() })
      of.response.end()
      return
    }
    const body = await readBody(upstream)
    if (of.lines !== null && headers.some(([, value]) => value === 'application/x-ndjson')) {
      const sent = linesOf(body)
      const ending = { result: 'completed', transcript: transcriptOf(sent), events: sent.length }
      this.#record(of.id, 'outcome', { ...facts, ...ending })
      of.response.writeHead(status, own.flat())
      const passed = this.deviations.responseFrames?.(sent) ?? sent
      of.response.end(passed.map((line) => `${line}\n`).join(''))
      return
    }
    const digests = { 'response.digest': sha256(body), 'response.forwarded-digest': sha256(body) }
    this.#record(of.id, 'outcome', { ...facts, ...digests })
    const answer: Answer = { status, headers: own, body }
    this.deviations.answer?.(answer)
    of.response.writeHead(answer.status, answer.headers.flat())
    of.response.end(answer.body)
  }

  #record(exchange: string, kind: EntryKind, facts: Record<string, FactValue>): void {
    this.deviations.facts?.(facts, kind)
    this.#entries.set(exchange, [...(this.#entries.get(exchange) ?? []), { kind, exchange, facts }])
  }

  #sendReceipt(response: ServerResponse, asked: string): void {
    const exchange = this.deviations.receiptOf?.(asked) ?? asked
    const entries = this.#entries.get(exchange)
    if (entries?.length !== 2) return refuse(response, 'EXCHANGE_OPEN', 409)
    const bytes = this.receipt(entries)
    response.writeHead(200, { 'content-type': 'application/vnd.countersign.receipt+json' })
    response.end(this.deviations.receipt?.(bytes) ?? bytes)
  }

  receipt(entries: readonly Entry[]): Uint8Array {
    const made = entries.map(leafOf)
    const hashes = made.map(({ leaf }) => hashLeafWith(sha256, leaf))
    const [a, b] = hashes
    if (a === undefined || b === undefined) throw new Error('a receipt has two entries here')
    const root = hashNodeWith(sha256, a, b)
    const text = formatCheckpoint({ origin, size: 2, root })
    const noteKey = { name: origin, type: noteKeyType.ed25519, publicKey: this.#log.publicKey }
    const keyId = noteKeyIdWith(sha256, noteKey)
    const checkpoint = formatNote(text, [
      { name: origin, keyId, signature: this.#log.sign(utf8(text)) },
    ])
    return createReceipt({
      exchange: entries[0]?.exchange as ExchangeId,
      origin,
      level: 'published',
      entries: made.map(({ leaf, facts }, index) => ({
        leaf,
        facts,
        proof: formatTlogProof({ index, path: [index === 0 ? b : a], checkpoint }),
        stated: null,
      })),
    })
  }
}

function leafOf({ exchange, kind, facts: stated }: Entry, n: number) {
  const facts: Record<string, DisclosedFact> = {}
  const commitments = new Map<string, Uint8Array>()
  for (const [name, value] of Object.entries(stated)) {
    const salt = new Uint8Array(randomBytes(16))
    commitments.set(name, sha256(commitmentInput(salt, encodeFact(name, value))))
    facts[name] = { salt, value }
  }
  return { facts, leaf: encodeLeaf({ exchange, kind, at: Date.now() + n, facts: commitments }) }
}

const isStream = (headers: HeaderList): boolean =>
  headers.some(([name]) => name === streamedBody[0])

const linesOf = (body: Uint8Array): string[] =>
  Buffer.from(body).toString().split('\n').filter(Boolean)

/** By its definition, and not by the code under test. */
function transcriptOf(lines: readonly string[]): Uint8Array {
  const hash = createHash('sha256')
  for (const line of lines) {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(Buffer.byteLength(line))
    hash.update(length).update(line)
  }
  return new Uint8Array(hash.digest())
}

function transcriptFacts(lines: readonly string[]): Record<string, FactValue> {
  return {
    'request.transcript': transcriptOf(lines),
    'request.forwarded-transcript': transcriptOf(lines),
    'request.frames': lines.length,
    'request.bytes': lines.reduce((sum, line) => sum + Buffer.byteLength(line), 0),
  }
}

async function readBody(message: IncomingMessage): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of message as AsyncIterable<Uint8Array>) chunks.push(chunk)
  return new Uint8Array(Buffer.concat(chunks))
}

function headerList(raw: readonly string[]): [string, string][] {
  return raw.flatMap((name, at) =>
    at % 2 === 0 ? [[name.toLowerCase(), raw[at + 1] ?? ''] as [string, string]] : [],
  )
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}

function refuse(response: ServerResponse, code: string, status: number, exchange?: string): void {
  response.writeHead(status, {
    'content-type': 'application/problem+json',
    'countersign-refusal': code,
    ...(exchange === undefined ? {} : { 'countersign-exchange': exchange }),
  })
  response.end(JSON.stringify({ code }))
}
