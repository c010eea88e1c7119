import 'reflect-metadata'
import {
  createHash,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, request as httpsRequest, type RequestOptions, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { connect, TLSSocket } from 'node:tls'
import {
  createId,
  createReceipt,
  createSignatureBase,
  createSignatureInput,
  createStatement,
  type DisclosedFact,
  encodeEntryPayload,
  encodeFact,
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
  keyThumbprint,
  noPreviousLeaf,
  noteKeyIdWith,
  noteKeyType,
  parseBase64Url,
  parseEnrollmentRequest,
  parseRenewalRequest,
  parseSpiffeId,
  readSignedRequest,
  readSignedResponse,
  requestProfileFault,
  type StatementKind,
  statementContentType,
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
import * as x509 from '@peculiar/x509'
import express from 'express'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type Agent,
  AgentError,
  type AgentHandler,
  formatJoin,
  type NodeListener,
  openAgent,
  parseJoin,
  RefusedError,
  readTrust,
  receivedOf,
  type ServeOptions,
  verify,
} from './index.ts'

const trustDomain = 'acme.test'
const origin = 'log.acme.test'
const hourMs = 3_600_000
const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())

function signingKey() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  return {
    publicKey: new Uint8Array(spki.subarray(-32)),
    sign: (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, privateKey)),
  }
}

const p256 = { name: 'ECDSA', namedCurve: 'P-256' }

/** A certificate authority of one trust domain. */
class TestAuthority {
  readonly root: Uint8Array
  readonly #key: KeyObject
  readonly #name: string

  private constructor(root: Uint8Array, key: KeyObject, name: string) {
    this.root = root
    this.#key = key
    this.#name = name
  }

  static async create(name = 'CN=Test Root'): Promise<TestAuthority> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const root = await certificate(
      { subject: name, issuer: name, publicKey, signingKey: privateKey, authority: true },
      [
        new x509.SubjectAlternativeNameExtension([
          { type: 'url', value: `spiffe://${trustDomain}` },
        ]),
      ],
    )
    return new TestAuthority(root, privateKey, name)
  }

  issue(spiffeId: string, publicKey: KeyObject, lifetimeMs = hourMs): Promise<Uint8Array> {
    const names = [
      { type: 'url', value: spiffeId },
      { type: 'ip', value: '127.0.0.1' },
    ] as const
    return certificate(
      {
        subject: 'CN=leaf',
        issuer: this.#name,
        publicKey,
        signingKey: this.#key,
        authority: false,
        lifetimeMs,
      },
      [new x509.SubjectAlternativeNameExtension([...names])],
    )
  }

  async credential(spiffeId: string): Promise<TlsCredential> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    return { certificateChain: [await this.issue(spiffeId, publicKey)], privateKey }
  }
}

async function certificate(
  terms: {
    subject: string
    issuer: string
    publicKey: KeyObject
    signingKey: KeyObject
    authority: boolean
    lifetimeMs?: number
  },
  names: x509.Extension[],
): Promise<Uint8Array> {
  const { KeyUsageFlags } = x509
  const usage = terms.authority
    ? KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign
    : KeyUsageFlags.digitalSignature
  const now = Date.now()
  const made = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(8).toString('hex').replace(/^./, '1'),
    subject: terms.subject,
    issuer: terms.issuer,
    notBefore: new Date(now - 1000),
    notAfter: new Date(now + (terms.lifetimeMs ?? 24 * hourMs)),
    publicKey: new Uint8Array(terms.publicKey.export({ type: 'spki', format: 'der' })),
    signingKey: terms.signingKey.toCryptoKey(p256, false, ['sign']) as CryptoKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(terms.authority, undefined, true),
      new x509.KeyUsagesExtension(usage, true),
      ...names,
    ],
  })
  return new Uint8Array(made.rawData)
}

interface Entry {
  readonly kind: StatementKind
  readonly exchange: string
  readonly facts: Readonly<Record<string, FactValue>>
}

interface Answer {
  status: number
  headers: [string, string][]
  body: Uint8Array
}

/** The identity that a connection to an agent shows; the fabric's own certificate by default. */
interface Shown {
  anonymous?: boolean
  credential?: TlsCredential
}

/** The behaviour in which a hostile, or merely strict, fabric differs. */
interface Lies {
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
  facts?: (facts: Record<string, FactValue>, kind: StatementKind) => void
  cutStream?: boolean
  /** Passes an event on, or not, after it was put on record. */
  passEvent?: (chunk: string) => boolean
  trust?: (document: Record<string, unknown>) => void
}

/** A fabric small enough for a test: real TLS, real signatures, a real log of what crossed it. */
class TestFabric {
  readonly lies: Lies = {}
  readonly authority: TestAuthority
  readonly bundles = new TrustBundles()
  readonly keys = new Map<string, { name: string; publicKey: Uint8Array }>()
  readonly endpoints = new Map<string, string>()
  readonly refusals: string[] = []
  lifetimeMs = hourMs
  enrolments = 0
  renewals = 0
  responses: HeaderList[] = []
  url = ''
  readonly #tokens = new Map<string, string>()
  readonly #log = signingKey()
  readonly #statement = signingKey()
  readonly #forward = signingKey()
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

  trustDocument(): Record<string, unknown> {
    const noteKey = { name: origin, type: noteKeyType.ed25519, publicKey: this.#log.publicKey }
    const document: Record<string, unknown> = {
      v: 1,
      trustDomain,
      bundle: [toBase64(this.authority.root)],
      origin,
      vkey: formatVkey({ ...noteKey, keyId: noteKeyIdWith(sha256, noteKey) }),
      statementKey: {
        keyId: toBase64(utf8('st-1')),
        publicKey: toBase64(this.#statement.publicKey),
      },
      fabricKey: { keyId: 'fabric-1', publicKey: toBase64(this.#forward.publicKey) },
      enrollmentKey: toBase64(Uint8Array.of(9, ...new Uint8Array(31))),
    }
    this.lies.trust?.(document)
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
    if (this.lies.refuseRenewal !== undefined) return refuse(response, this.lies.refuseRenewal, 403)
    const { tlsKey } = parseRenewalRequest(JSON.parse(Buffer.from(body).toString()))
    const name = this.lies.renewAs ?? parseSpiffeId(caller)?.name ?? ''
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
    const id = createId('dec', Date.now(), randomBytes(10))
    const [, , name = '', ...rest] = (request.url ?? '').split('/')
    const headers = headerList(request.rawHeaders)
    const asked = { method: request.method ?? '', path: request.url ?? '', authority: 'x', headers }
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
    if (this.lies.refuseCall !== undefined) return refuse(response, this.lies.refuseCall, 403, id)
    const url = this.endpoints.get(name)
    if (url === undefined) return refuse(response, 'RECEIVER_UNREACHABLE', 502, id)
    this.#record(id, 'intent', {
      ...{ transport: 'gateway', protocol: 'http' },
      caller,
      receiver: name,
      operation: asked.method,
      'request.digest': sha256(body),
      'request.signature': signed.signature,
      'request.signature-base': signed.base,
      'request.key': key.publicKey,
      'attested.request': 'caller',
    })
    const forward = this.forwarded({ id, caller, name, body, path: `/${rest.join('/')}`, asked })
    this.lies.forwarded?.(forward.headers)
    const upstream = await this.send(url, name, { ...forward, body })
    if (this.lies.forwardTwice === true) {
      const again = await this.send(url, name, { ...forward, body })
      this.refusals.push(String(again.headers['countersign-refusal']))
      again.resume()
    }
    await this.#answer(upstream, { id, forward, response, name })
  }

  /** The same construction as in the product, by other hands. */
  forwarded(of: {
    id: string
    caller: string
    name: string
    body: Uint8Array
    path: string
    asked: { method: string; headers: HeaderList }
    createdMs?: number
    key?: { keyId: string; sign: (bytes: Uint8Array) => Uint8Array }
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
    if (of.body.length > 0) {
      headers.push(['content-digest', formatContentDigest(sha256(of.body))])
      components.push('"content-digest"')
    }
    components.push('"countersign-exchange"', '"countersign-from"', '"countersign-to"')
    const [inputs, signatures] = [one('signature-input'), one('signature')]
    if (inputs !== undefined && signatures !== undefined) {
      headers.push(['signature-input', inputs], ['signature', signatures])
      components.push('"signature";key="caller"')
    }
    const signer = of.key ?? { keyId: 'fabric-1', sign: this.#forward.sign }
    const input = createSignatureInput({
      components,
      created: Math.floor((of.createdMs ?? Date.now()) / 1000),
      keyId: signer.keyId,
      nonce: of.id,
      tag: 'countersign-forward',
    })
    const unsigned = { method: of.asked.method, path: of.path, authority: '', headers }
    const signature = signer.sign(utf8(createSignatureBase(input, unsigned)))
    const join = (known: string | undefined, own: string) =>
      known === undefined ? own : `${known}, ${own}`
    const rest = headers.filter(([name]) => !name.startsWith('signature'))
    return {
      ...unsigned,
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
      forward: { method: string; path: string; authority: string; headers: [string, string][] }
      response: ServerResponse
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
    const facts = { result: 'delivered', status, ...attested }
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
        if (this.lies.passEvent?.(text) !== false) of.response.write(chunk)
      }
      if (this.lies.cutStream === true) {
        of.response.write('event: countersign-refusal\ndata: {"code":"WITHDRAWN"}\n\n')
      }
      const isCut = this.lies.cutStream === true
      const ending = isCut ? { result: 'cut', code: 'WITHDRAWN' } : { result: 'completed' }
      this.#record(of.id, 'outcome', { ...facts, ...ending, transcript: transcript.digest() })
      of.response.end()
      return
    }
    const body = await readBody(upstream)
    const digests = { 'response.digest': sha256(body), 'response.forwarded-digest': sha256(body) }
    this.#record(of.id, 'outcome', { ...facts, ...digests })
    const answer: Answer = { status, headers: own, body }
    this.lies.answer?.(answer)
    of.response.writeHead(answer.status, answer.headers.flat())
    of.response.end(answer.body)
  }

  #record(exchange: string, kind: StatementKind, facts: Record<string, FactValue>): void {
    this.lies.facts?.(facts, kind)
    this.#entries.set(exchange, [...(this.#entries.get(exchange) ?? []), { kind, exchange, facts }])
  }

  #sendReceipt(response: ServerResponse, asked: string): void {
    const exchange = this.lies.receiptOf?.(asked) ?? asked
    const entries = this.#entries.get(exchange)
    if (entries?.length !== 2) return refuse(response, 'EXCHANGE_OPEN', 409)
    const bytes = this.receipt(entries)
    response.writeHead(200, { 'content-type': 'application/vnd.countersign.receipt+json' })
    response.end(this.lies.receipt?.(bytes) ?? bytes)
  }

  receipt(entries: readonly Entry[]): Uint8Array {
    const made = entries.map((entry, n) => this.#statementOf(entry, n))
    const [a = noPreviousLeaf, b = noPreviousLeaf] = made.map(({ statement }) =>
      hashLeafWith(sha256, statement),
    )
    const root = hashNodeWith(sha256, a, b)
    const text = formatCheckpoint({ origin, size: 2, root })
    const noteKey = { name: origin, type: noteKeyType.ed25519, publicKey: this.#log.publicKey }
    const keyId = noteKeyIdWith(sha256, noteKey)
    const checkpoint = formatNote(text, [
      { name: origin, keyId, signature: this.#log.sign(utf8(text)) },
    ])
    return createReceipt({
      exchange: entries[0]?.exchange as `dec_${string}`,
      origin,
      entries: made.map(({ statement, facts }, index) => ({
        statement,
        facts,
        proof: formatTlogProof({ index, path: [index === 0 ? b : a], checkpoint }),
      })),
    })
  }

  #statementOf(entry: Entry, n: number) {
    const facts: Record<string, DisclosedFact> = {}
    const commitments = new Map<string, Uint8Array>()
    for (const [name, value] of Object.entries(entry.facts)) {
      const salt = new Uint8Array(randomBytes(32))
      const mac = createHmac('sha256', salt).update(encodeFact(name, value)).digest()
      commitments.set(name, new Uint8Array(mac))
      facts[name] = { salt, value }
    }
    const payload = encodeEntryPayload({
      exchange: entry.exchange,
      kind: entry.kind,
      at: Date.now() + n,
      n,
      prev: noPreviousLeaf,
      facts: commitments,
      nonce: new Uint8Array(randomBytes(32)),
    })
    const header = {
      keyId: utf8('st-1'),
      issuer: `spiffe://${trustDomain}/fabric/one`,
      subject: 'exchange',
      contentType: statementContentType,
    }
    return { facts, statement: createStatement({ ...header, payload }, this.#statement.sign) }
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

let fabric: TestFabric
let base: string
/** Shared, since making keys and certificates is most of what these tests would spend. */
let caller: Agent
let callee: Agent
const open: { close(): Promise<void> }[] = []

beforeAll(async () => {
  fabric = await TestFabric.start()
  base = await mkdtemp(joinPath(tmpdir(), 'countersign-sdk-'))
  caller = await openAgent({ join: fabric.join('invoice'), dir: joinPath(base, 'shared-invoice') })
  callee = await openAgent({ join: fabric.join('pay'), dir: joinPath(base, 'shared-pay') })
})

afterAll(async () => {
  await Promise.all([caller.close(), callee.close()])
  await fabric.stop()
  await rm(base, { recursive: true, force: true })
})

beforeEach(() => {
  for (const name of Object.keys(fabric.lies)) delete fabric.lies[name as keyof Lies]
  fabric.lifetimeMs = hourMs
  fabric.enrolments = 0
  fabric.renewals = 0
  fabric.refusals.length = 0
  fabric.responses.length = 0
})

afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()))
})

/** A further agent with a name, a directory and keys of its own. */
async function agentNamed(name: string, more: Partial<Parameters<typeof openAgent>[0]> = {}) {
  const dir = joinPath(base, `${name}-${randomBytes(4).toString('hex')}`)
  const agent = await openAgent({ join: fabric.join(name), dir, ...more })
  open.push(agent)
  const stored = JSON.parse(await readFile(joinPath(dir, 'agent.json'), 'utf8'))
  fabric.sealingKeyIds.set(name, stored.granted.sealingKeyId)
  return { agent, dir, stored }
}

/** Makes the callee answer what it was asked, with who asked. */
function echo() {
  return serving(async ({ request, from, exchange, signed }) => {
    const { pathname: path } = new URL(request.url)
    return Response.json({ echo: await request.text(), path, from, exchange, signed })
  })
}

async function serving(handler: AgentHandler, options?: ServeOptions) {
  const served = await callee.serve(handler, options)
  open.push(served)
  return served
}

async function servingNode(listener: NodeListener, options?: ServeOptions) {
  open.push(await callee.serveNode(listener, options))
}

async function faultOf(made: Promise<unknown>): Promise<string> {
  const error: unknown = await made.then(
    () => null,
    (cause: unknown) => cause,
  )
  if (error instanceof AgentError || error instanceof RefusedError) return error.code
  throw error instanceof Error ? error : new Error('it did not fail')
}

describe('enrolment', () => {
  test('makes keys that only their owner can read, and reopens without a join string', async () => {
    const { agent, dir } = await agentNamed('fresh')
    expect(agent.spiffeId).toBe('spiffe://acme.test/agent/fresh')
    expect((await stat(joinPath(dir, 'agent.json'))).mode & 0o777).toBe(0o600)
    expect((await stat(dir)).mode & 0o777).toBe(0o700)
    const again = await openAgent({ dir })
    open.push(again)
    expect(again.spiffeId).toBe(agent.spiffeId)
    expect(fabric.enrolments).toBe(1)
  })

  test('a wrong root fingerprint stops before the token is sent', async () => {
    const right = parseJoin(fabric.join('invoice'))
    const join = formatJoin({ ...right, rootSha256: new Uint8Array(32).fill(7) })
    expect(await faultOf(openAgent({ join, dir: joinPath(base, 'x') }))).toBe('ROOT_MISMATCHED')
    expect(await faultOf(readTrust(join))).toBe('ROOT_MISMATCHED')
    expect(fabric.enrolments).toBe(0)
  })

  test('a listener that shows the right root but cannot use its key is not believed', async () => {
    const stranger = await TestAuthority.create()
    const imitation = await TestFabric.start(
      await stranger.credential(`spiffe://${trustDomain}/fabric/one`),
    )
    try {
      imitation.lies.trust = (document) => {
        Object.assign(document, fabric.trustDocument())
      }
      const join = formatJoin({ ...parseJoin(fabric.join('invoice')), url: imitation.url })
      expect(await faultOf(openAgent({ join, dir: joinPath(base, 'x') }))).toBe('ROOT_MISMATCHED')
    } finally {
      await imitation.stop()
    }
  })

  test('an agent of the trust domain cannot pass as its fabric', async () => {
    const imitation = await TestFabric.start(
      await fabric.authority.credential(`spiffe://${trustDomain}/agent/mallory`),
    )
    try {
      imitation.lies.trust = (document) => {
        Object.assign(document, fabric.trustDocument())
      }
      const join = formatJoin({ ...parseJoin(fabric.join('invoice')), url: imitation.url })
      expect(await faultOf(readTrust(join))).toBe('ROOT_MISMATCHED')
    } finally {
      await imitation.stop()
    }
  })

  test('a spent token is refused with the code of the fabric and a next step', async () => {
    const join = fabric.join('invoice')
    open.push(await openAgent({ join, dir: joinPath(base, 'first') }))
    const error = await openAgent({ join, dir: joinPath(base, 'second') }).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(RefusedError)
    expect(error).toMatchObject({ code: 'CREDENTIAL_REJECTED', retry: false, status: 401 })
    expect((error as RefusedError).message).toContain('Next:')
  })

  test('keys that others can read, and files that were changed, are not used', async () => {
    const { agent, dir } = await agentNamed('fresh')
    await agent.close()
    const file = joinPath(dir, 'agent.json')
    const good = await readFile(file, 'utf8')
    await rm(file)
    await writeFile(file, good, { mode: 0o644 })
    expect(await faultOf(openAgent({ dir }))).toBe('IDENTITY_DAMAGED')
    await rm(file)
    await writeFile(file, good.slice(0, 100), { mode: 0o600 })
    expect(await faultOf(openAgent({ dir }))).toBe('IDENTITY_DAMAGED')
  })

  test('a later join string of the same fabric only tells its address, one of another is refused', async () => {
    const { agent, dir } = await agentNamed('fresh')
    await agent.close()
    const again = await openAgent({ dir, join: fabric.join('other') })
    open.push(again)
    expect(again.name).toBe('fresh')
    expect(fabric.enrolments).toBe(1)
    const join = formatJoin({ ...parseJoin(fabric.join('x')), rootSha256: new Uint8Array(32) })
    expect(await faultOf(openAgent({ dir, join }))).toBe('ROOT_MISMATCHED')
  })

  test('without identity and join string it says which of them is missing', async () => {
    expect(await faultOf(openAgent({ dir: joinPath(base, 'none') }))).toBe('JOIN_MISSING')
  })
})

describe('renewal', () => {
  async function ageing(refuse?: string) {
    const { agent, dir } = await agentNamed('ageing')
    await agent.close()
    fabric.lifetimeMs = 2 * hourMs
    if (refuse !== undefined) fabric.lies.refuseRenewal = refuse
    const clock = { now: () => Date.now() + 0.75 * hourMs }
    return { opened: openAgent({ dir, clock }), before: agent.expiresAt(), dir }
  }

  test('happens at the start when half of the lifetime has passed, and is stored', async () => {
    const { opened, before, dir } = await ageing()
    const agent = await opened
    open.push(agent)
    expect(agent.expiresAt()).toBeGreaterThan(before)
    const stored = JSON.parse(await readFile(joinPath(dir, 'agent.json'), 'utf8'))
    expect(stored.granted.expiresAt).toBeGreaterThanOrEqual(agent.expiresAt())
  })

  test('a refused renewal stops the agent with that refusal', async () => {
    const { opened } = await ageing('AGENT_REVOKED')
    expect(await faultOf(opened)).toBe('AGENT_REVOKED')
    expect(fabric.renewals).toBe(1)
  })

  test('a renewal for another agent is not taken over', async () => {
    fabric.lies.renewAs = 'mallory'
    const faults: Error[] = []
    const { agent } = await agentNamed('fresh', { onFault: (error) => faults.push(error) })
    expect(await faultOf(agent.renew())).toBe('ANSWER_MALFORMED')
    expect(agent.spiffeId).toBe('spiffe://acme.test/agent/fresh')
    expect(faults).toHaveLength(1)
  })

  test('a listener shows the renewed certificate without dropping calls', async () => {
    const { agent } = await agentNamed('rotating')
    const served = await agent.serve(() => new Response('ok'))
    const shown = async () => {
      const socket = connect({
        host: '127.0.0.1',
        port: served.port,
        rejectUnauthorized: false,
        minVersion: 'TLSv1.3',
      })
      await once(socket, 'secureConnect')
      const fingerprint = socket.getPeerX509Certificate()?.fingerprint256
      socket.destroy()
      return fingerprint
    }
    const before = await shown()
    await agent.renew()
    expect(await shown()).not.toBe(before)
    expect((await caller.call('rotating', { body: 'x' })).status).toBe(200)
  })

  test('an expired certificate ends calls with the failure that kept it from being renewed', async () => {
    let now = Date.now()
    const { agent } = await agentNamed('fresh', { clock: { now: () => now } })
    fabric.lies.refuseRenewal = 'AGENT_QUARANTINED'
    expect(await faultOf(agent.renew())).toBe('AGENT_QUARANTINED')
    now += 2 * hourMs
    const error = await agent.call('pay').catch((cause: unknown) => cause)
    expect(error).toMatchObject({ code: 'IDENTITY_EXPIRED' })
    expect((error as Error).cause).toMatchObject({ code: 'AGENT_QUARANTINED' })
  })
})

describe('a call', () => {
  test('arrives signed, is answered countersigned, and has a receipt of both', async () => {
    await echo()
    const reply = await caller.call('pay', { path: '/tasks?urgent=1', json: { invoice: 4411 } })
    expect(await reply.json()).toMatchObject({
      echo: '{"invoice":4411}',
      path: '/tasks',
      from: caller.spiffeId,
      exchange: reply.exchange,
      signed: true,
    })
    const receipt = await reply.receipt()
    expect(receipt).toMatchObject({
      exchange: reply.exchange,
      caller: caller.spiffeId,
      receiver: 'pay',
      request: { by: 'caller' },
      response: { by: 'callee' },
    })
    expect(receipt.request.signature?.covered.get('"@path"')).toBe('/agents/pay/tasks')
    const offline = await verify(receipt.bytes, caller.trust)
    expect(offline.exchange).toBe(reply.exchange)
  })

  test('of the callee has the same receipt', async () => {
    await echo()
    const reply = await caller.call('pay', { body: 'x' })
    const receipt = await callee.receipt(String(reply.exchange))
    expect(receipt.caller).toBe(caller.spiffeId)
  })

  test('without content is signed and receipted as well', async () => {
    await echo()
    const reply = await caller.call('spiffe://acme.test/agent/pay', { path: '/health' })
    expect((await reply.receipt()).response.by).toBe('callee')
  })

  test('that is refused throws the code, the exchange and what to do', async () => {
    await echo()
    fabric.lies.refuseCall = 'NOT_PERMITTED'
    const error = await caller.call('pay', { body: 'x' }).catch((cause: unknown) => cause)
    expect(error).toBeInstanceOf(RefusedError)
    expect(error).toMatchObject({ code: 'NOT_PERMITTED', says: 'policy does not allow this' })
    expect((error as RefusedError).exchange).toMatch(/^dec_/)
    expect((error as RefusedError).next).toContain('policy')
  })

  test('with an unknown refusal code is not retried blindly', async () => {
    await echo()
    fabric.lies.refuseCall = 'SOMETHING_NEW'
    const error = await caller.call('pay', { body: 'x' }).catch((cause: unknown) => cause)
    expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', retry: false, mayHaveActed: true })
  })

  test('that cannot be sent as given is refused before anything leaves', async () => {
    await echo()
    const bad = (options: Parameters<Agent['call']>[1], to = 'pay') =>
      faultOf(caller.call(to, options))
    expect(await bad({}, '../pay')).toBe('REQUEST_MALFORMED')
    expect(await bad({}, 'spiffe://other.test/agent/pay')).toBe('REQUEST_MALFORMED')
    expect(await bad({ path: 'tasks' })).toBe('REQUEST_MALFORMED')
    expect(await bad({ path: '/a b' })).toBe('REQUEST_MALFORMED')
    expect(await bad({ headers: { signature: 'sig=:AA==:' } })).toBe('REQUEST_MALFORMED')
    expect(await bad({ headers: { 'countersign-from': 'x' } })).toBe('REQUEST_MALFORMED')
    expect(await bad({ body: new Uint8Array(10 * 1024 * 1024 + 1) })).toBe('REQUEST_TOO_LARGE')
    expect(fabric.responses).toHaveLength(0)
  })

  test('can be abandoned, with the reason of its signal', async () => {
    const { promise: arrived, resolve } = Promise.withResolvers<void>()
    const leaving = new AbortController()
    await serving(async () => {
      resolve()
      await new Promise((wake) => leaving.signal.addEventListener('abort', wake))
      return new Response('late')
    })
    const made = caller.call('pay', { body: 'x', signal: leaving.signal })
    await arrived
    leaving.abort(new Error('enough'))
    await expect(made).rejects.toThrow('enough')
  })

  test('to a fabric that is gone says that it could not be reached', async () => {
    const other = await TestFabric.start()
    const dir = joinPath(base, 'orphan')
    const agent = await openAgent({ join: other.join('orphan'), dir })
    open.push(agent)
    await other.stop()
    expect(await faultOf(agent.call('pay', { body: 'x' }))).toBe('FABRIC_UNREACHABLE')
  })
})

describe('a receipt is not believed', () => {
  test('when it is of another exchange of the same parties', async () => {
    await echo()
    const first = await caller.call('pay', { body: 'x' })
    const second = await caller.call('pay', { body: 'x' })
    fabric.lies.receiptOf = () => String(first.exchange)
    expect(await faultOf(second.receipt())).toBe('RECEIPT_MISMATCHED')
  })

  test('when another exchange is passed off under the id of this one', async () => {
    await echo()
    const first = await caller.call('pay', { body: 'x' })
    fabric.lies.answer = (answer) => {
      answer.headers = answer.headers.map(([name, value]) =>
        name === 'countersign-exchange' ? [name, String(first.exchange)] : [name, value],
      )
    }
    const second = await caller.call('pay', { body: 'x' })
    expect(second.exchange).toBe(first.exchange)
    expect(await faultOf(second.receipt())).toBe('RECEIPT_MISMATCHED')
  })

  test('when the body was changed after it was countersigned', async () => {
    await echo()
    fabric.lies.answer = (answer) => {
      answer.body = utf8(Buffer.from(answer.body).toString().replace('"x"', '"y"'))
    }
    expect(await faultOf((await caller.call('pay', { body: 'x' })).receipt())).toBe(
      'RECEIPT_MISMATCHED',
    )
  })

  test('when the status was changed', async () => {
    await echo()
    fabric.lies.answer = (answer) => {
      answer.status = 404
    }
    expect(await faultOf((await caller.call('pay', { body: 'x' })).receipt())).toBe(
      'RECEIPT_MISMATCHED',
    )
  })

  test('when a byte of it was changed, with the fault of the verification as its cause', async () => {
    await echo()
    fabric.lies.receipt = (bytes) => utf8(Buffer.from(bytes).toString().replace('"pay"', '"bad"'))
    const error = await (await caller.call('pay', { body: 'x' })).receipt().catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'RECEIPT_REJECTED', cause: { code: 'FACT_REJECTED' } })
  })

  test('when the signature of the caller was stripped from the record', async () => {
    await echo()
    fabric.lies.facts = (facts, kind) => {
      if (kind !== 'intent') return
      for (const name of ['request.signature', 'request.signature-base', 'request.key']) {
        delete facts[name]
      }
      facts['attested.request'] = 'fabric'
    }
    const reply = await caller.call('pay', { body: 'x' })
    // The countersignature still covers a signature that the record no longer has.
    expect(await faultOf(reply.receipt())).toBe('RECEIPT_REJECTED')
  })

  test('when it withholds what was sent', async () => {
    await echo()
    fabric.lies.facts = (facts, kind) => {
      if (kind === 'outcome') delete facts['response.forwarded-digest']
    }
    expect(await faultOf((await caller.call('pay', { body: 'x' })).receipt())).toBe(
      'RECEIPT_MISMATCHED',
    )
  })
})

describe('fetch', () => {
  test('reaches agents by host name and by gateway path, and has receipts', async () => {
    await echo()
    for (const url of ['https://pay.countersign.internal/a', `${fabric.url}/agents/pay/a`]) {
      const response = await caller.fetch(url, { method: 'POST', body: 'hello' })
      expect(response.ok).toBe(true)
      expect(response.url).toBe(url)
      expect(await response.json()).toMatchObject({ echo: 'hello', path: '/a' })
      expect((await caller.receiptOf(response)).request.by).toBe('caller')
    }
  })

  test('goes nowhere but through the fabric', async () => {
    await echo()
    expect(await faultOf(caller.fetch('https://example.com/'))).toBe('REQUEST_MALFORMED')
    expect(await faultOf(caller.fetch(`${fabric.url}/v1/admin`))).toBe('REQUEST_MALFORMED')
  })

  test('gives a refusal as a response', async () => {
    await echo()
    fabric.lies.refuseCall = 'NOT_PERMITTED'
    const response = await caller.fetch('https://pay.countersign.internal/')
    expect(response.status).toBe(403)
    expect(response.headers.get('countersign-refusal')).toBe('NOT_PERMITTED')
  })

  test('signs the type of an answer in the one form that passes', async () => {
    await servingNode((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json ; charset=utf-8;' })
      response.end('{}')
    })
    const response = await caller.fetch('https://pay.countersign.internal/')
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8')
  })

  test('streams, and stops the sender when the reader leaves', async () => {
    const { promise: left, resolve } = Promise.withResolvers<void>()
    await servingNode((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: 1\n\n')
      response.once('close', () => resolve())
    })
    const leaving = new AbortController()
    const response = await caller.fetch('https://pay.countersign.internal/', {
      signal: leaving.signal,
    })
    const reader = response.body!.getReader()
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('data: 1\n\n')
    leaving.abort()
    await expect(reader.read()).rejects.toThrow()
    await left
  })
})

test('a channel asks the fabric in signed requests, and passes its refusal on', async () => {
  const channel = caller.channel('invoices')
  expect(await faultOf(channel.receive({ group: 'g', waitMs: 0 }))).toBe('OPERATION_UNKNOWN')
  expect(await faultOf(channel.send('x'))).toBe('OPERATION_UNKNOWN')
  expect(() => caller.channel('../invoices')).toThrow('REQUEST_MALFORMED')
})

describe('an event stream', () => {
  async function* pieces() {
    yield utf8('data: {"n":1}\n\n')
    // The pieces have to arrive apart for one of them to be dropped.
    await new Promise((wake) => setTimeout(wake, 20))
    yield utf8('data: {"n":2}\n\n')
  }

  async function streaming() {
    await serving(
      () =>
        new Response(pieces() as unknown as BodyInit, {
          headers: { 'content-type': 'text/event-stream' },
        }),
    )
  }

  test('has a countersigned head, and a receipt of the events that arrived', async () => {
    await streaming()
    const reply = await caller.call('pay', { body: 'x' })
    const seen: string[] = []
    for await (const { data } of reply.events()) seen.push(data)
    expect(seen).toEqual(['{"n":1}', '{"n":2}'])
    const receipt = await reply.receipt()
    expect(receipt.response.by).toBe('callee')
    expect(receipt.entries.at(-1)?.facts['result']).toBe('completed')
  })

  test('that the fabric cuts throws its refusal, and the receipt still matches', async () => {
    await streaming()
    fabric.lies.cutStream = true
    const reply = await caller.call('pay', { body: 'x' })
    const seen: string[] = []
    const reading = (async () => {
      for await (const { data } of reply.events()) seen.push(data)
    })()
    expect(await faultOf(reading)).toBe('WITHDRAWN')
    expect(seen).toHaveLength(2)
    expect((await reply.receipt()).entries.at(-1)?.facts['result']).toBe('cut')
  })

  test('with an event dropped on the way does not match its receipt', async () => {
    await streaming()
    fabric.lies.passEvent = (chunk) => !chunk.includes('"n":2')
    const reply = await caller.call('pay', { body: 'x' })
    const seen: string[] = []
    for await (const { data } of reply.events()) seen.push(data)
    expect(seen).toEqual(['{"n":1}'])
    expect(await faultOf(reply.receipt())).toBe('RECEIPT_MISMATCHED')
  })
})

describe('a served agent', () => {
  const id = () => createId('dec', Date.now(), randomBytes(10))
  const from = `spiffe://${trustDomain}/agent/invoice`

  /** Sends what the fabric would have forwarded, with one thing different. */
  async function directly(
    change: (request: ReturnType<TestFabric['forwarded']> & { body: Uint8Array }) => void,
    more: Partial<Parameters<TestFabric['forwarded']>[0]> = {},
    shown: Shown = {},
  ) {
    const body = utf8('hello')
    const asked = { method: 'POST', headers: [] }
    const base = { id: id(), caller: from, name: 'pay', body, path: '/a?b=c', asked }
    const request = { ...fabric.forwarded({ ...base, ...more }), body }
    change(request)
    const response = await fabric.send(fabric.endpoints.get('pay')!, 'pay', request, shown)
    const code = response.headers['countersign-refusal'] ?? String(response.statusCode)
    response.resume()
    return code
  }

  const replace = (headers: [string, string][], name: string, value: string | null) => {
    const at = headers.findIndex(([each]) => each === name)
    if (value === null) headers.splice(at, 1)
    else headers[at] = [name, value]
  }

  test('answers what the fabric forwarded, and nothing that differs from it', async () => {
    await echo()
    expect(await directly(() => undefined)).toBe('200')
    expect(await directly(({ headers }) => replace(headers, 'countersign-from', `${from}x`))).toBe(
      'SIGNATURE_REJECTED',
    )
    expect(await directly(({ headers }) => replace(headers, 'countersign-exchange', id()))).toBe(
      'SIGNATURE_REJECTED',
    )
    expect(
      await directly((request) => {
        request.body = utf8('hullo')
      }),
    ).toBe('SIGNATURE_REJECTED')
    expect(
      await directly((request) => {
        request.path = '/a?b=d'
      }),
    ).toBe('SIGNATURE_REJECTED')
    expect(await directly(({ headers }) => headers.push(['countersign-from', from]))).toBe(
      'SIGNATURE_REJECTED',
    )
  })

  test('refuses a request whose signature was stripped', async () => {
    await echo()
    const stripped = await directly(({ headers }) => {
      replace(headers, 'signature', null)
      replace(headers, 'signature-input', null)
    })
    expect(stripped).toBe('SIGNATURE_MISSING')
  })

  test('refuses a forwarded request that is brought a second time', async () => {
    await echo()
    fabric.lies.forwardTwice = true
    expect((await caller.call('pay', { body: 'x' })).status).toBe(200)
    expect(fabric.refusals).toEqual(['MESSAGE_REPLAYED'])
  })

  test('refuses what was signed for another agent, too early or too late', async () => {
    await echo()
    expect(await directly(() => undefined, { name: 'other' })).toBe('SIGNATURE_REJECTED')
    expect(await directly(() => undefined, { createdMs: Date.now() - 120_000 })).toBe(
      'SIGNATURE_REJECTED',
    )
    expect(await directly(() => undefined, { createdMs: Date.now() + 120_000 })).toBe(
      'SIGNATURE_REJECTED',
    )
  })

  test('refuses a genuine forwarded request that an agent brings in place of the fabric', async () => {
    await echo()
    const mallory = await fabric.authority.credential(`spiffe://${trustDomain}/agent/mallory`)
    expect(await directly(() => undefined, {}, { credential: mallory })).toBe('SIGNATURE_REJECTED')
  })

  test('lets a connector speak for its own agent only, when it is told whose key it is', async () => {
    const key = signingKey()
    await serving(() => new Response('ok'), {
      findKey: (keyId) =>
        Promise.resolve(keyId === 'conn-1' ? { publicKey: key.publicKey, spiffeId: from } : null),
    })
    const signer = { keyId: 'conn-1', sign: key.sign }
    const invoice = await fabric.authority.credential(from)
    const mallory = await fabric.authority.credential(`spiffe://${trustDomain}/agent/mallory`)
    const as = (caller: string, credential: TlsCredential) =>
      directly(() => undefined, { key: signer, caller }, { credential })
    expect(await as(from, invoice)).toBe('200')
    expect(await as(from, mallory)).toBe('SIGNATURE_REJECTED')
    expect(await as(`spiffe://${trustDomain}/agent/other`, invoice)).toBe('SIGNATURE_REJECTED')
  })

  test('closes the connection of a peer without a certificate, or with a foreign one', async () => {
    await echo()
    const stranger = await TestAuthority.create('CN=Stranger')
    const foreign = await stranger.credential(`spiffe://${trustDomain}/fabric/one`)
    await expect(directly(() => undefined, {}, { credential: foreign })).rejects.toThrow()
    await expect(directly(() => undefined, {}, { anonymous: true })).rejects.toThrow()
  })

  test('refuses more than its body limit and answers a handler that throws with a signed 500', async () => {
    await serving(
      () => {
        throw new Error('secret detail')
      },
      { bodyBytesMax: 100 },
    )
    const reply = await caller.call('pay', { body: 'x' })
    expect(reply.status).toBe(500)
    expect(await reply.text()).not.toContain('secret')
    expect((await reply.receipt()).response.by).toBe('callee')
    const large = await caller.call('pay', { body: 'x'.repeat(101) })
    expect(large.status).toBe(413)
  })

  test('says so when its port is taken', async () => {
    const { port } = await echo()
    expect(await faultOf(callee.serve(() => new Response('x'), { port }))).toBe(
      'SERVER_UNAVAILABLE',
    )
  })

  test.each(['http://a.example:1', 'nonsense', 'https://a.example:1/path'])(
    'under an address that no caller could verify is refused: %s',
    async (expose) => {
      const serving = callee.serve(() => new Response('x'), { expose })
      await expect(serving).rejects.toMatchObject({ code: 'REQUEST_MALFORMED' })
      await expect(serving).rejects.toThrow('an origin of https')
    },
  )

  test('tells the application when its peer has left', async () => {
    const { promise: left, resolve } = Promise.withResolvers<void>()
    await servingNode((request, response) => {
      request.once('close', () => resolve())
      response.writeHead(200, { 'content-type': 'text/event-stream' })
    })
    const leaving = new AbortController()
    await caller.fetch('https://pay.countersign.internal/', { signal: leaving.signal })
    leaving.abort()
    await left
  })

  test('withdraws its endpoint when it closes', async () => {
    const served = await echo()
    expect(fabric.endpoints.has('pay')).toBe(true)
    await served.close()
    expect(fabric.endpoints.has('pay')).toBe(false)
  })
})

describe('an express application', () => {
  test('is served unmodified, countersigned whatever way it answers', async () => {
    const app = express()
    app.use(express.json())
    app.post('/json', (request, response) => {
      response.status(201).json({ got: request.body, from: receivedOf(request)?.from })
    })
    app.get('/pieces', (_, response) => {
      response.write('one ')
      response.write(Buffer.from('two '))
      response.end('three')
    })
    app.get('/empty', (_, response) => {
      response.status(204).end()
    })
    app.get('/events', (_, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' })
      response.write('data: 1\n\n')
      response.end()
    })
    await servingNode(app)
    const posted = await caller.call('pay', { path: '/json', json: { a: 1 } })
    expect(posted.status).toBe(201)
    // Express makes the request another prototype's; who called is known by the object, or not.
    expect(await posted.json()).toEqual({ got: { a: 1 }, from: caller.spiffeId })
    expect((await posted.receipt()).response.by).toBe('callee')
    const pieces = await caller.call('pay', { path: '/pieces' })
    expect(await pieces.text()).toBe('one two three')
    expect((await pieces.receipt()).response.by).toBe('callee')
    const empty = await caller.call('pay', { path: '/empty' })
    expect(empty.status).toBe(204)
    expect((await empty.receipt()).response.by).toBe('callee')
    const missing = await caller.call('pay', { path: '/missing' })
    expect(missing.status).toBe(404)
    expect((await missing.receipt()).response.by).toBe('callee')
    const events = await caller.call('pay', { path: '/events' })
    for await (const event of events.events()) expect(event.data).toBe('1')
    expect((await events.receipt()).response.by).toBe('callee')
  })

  test('that compresses, or answers without end, is cut off and not countersigned', async () => {
    await servingNode(
      (request, response) => {
        if (request.url === '/gzip') {
          response.setHeader('content-encoding', 'gzip')
          response.end('x')
          return
        }
        response.write('x'.repeat(200))
        response.end()
      },
      { bodyBytesMax: 100 },
    )
    await expect(caller.call('pay', { path: '/gzip' })).rejects.toThrow(AgentError)
    await expect(caller.call('pay', { path: '/large' })).rejects.toThrow(AgentError)
    expect(fabric.responses).toHaveLength(0)
  })
})
