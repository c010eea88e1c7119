import type { ServerResponse } from 'node:http'
import { isSlotName, utf8 } from '@countersign/protocol'
import { sendBytes } from '@countersign/protocol/tls'
import type { Presented } from '../../identity/caller.ts'
import { Refusal } from '../../lib/refusal.ts'
import { CONTROL_JSON_LIMITS, parseJsonBody } from '../../protocols/reading/json-body.ts'
import { type PathRoute, PathRoutes, type RoutePattern } from '../http/path-routes.ts'
import type { NodeRequest, ReceivedRequest } from '../http/received-request.ts'
import { type NodeResponse, type Reply, writeReply } from '../http/respond.ts'
import type { PublicRoute, PublicRouter } from './gateway.ts'
import { isKnown, type Resource, SharedResources } from './shared-resources.ts'

export interface PublicOptions {
  /** The trust document that agents and auditors pin, as JSON. */
  trust(): Promise<string>
  /** Of the keys in it, as people compare them; see docs/protocol.md. */
  readonly trustFingerprint: string
  enroll(body: unknown): Promise<object | Refusal>
  /** `presented` proves the caller by the certificate that is to be renewed. */
  renew(presented: Presented, body: unknown): Promise<object | Refusal>
  /** Records a refusal of `operation`, and returns the reply to it. */
  refuse(request: NodeRequest, refusal: Refusal, operation: string): Promise<Reply>
  /** The log slot of this process. */
  readonly slot: string
  /** Returns the address that serves the log of another slot; null where none is known. */
  addressOfLog(slot: string): Promise<string | null>
  findLogResource(path: string): Promise<Uint8Array | null>
  /** True for a bundle of entries that were pruned. */
  isPruned(path: string): boolean
  /** A page as HTML, or null. */
  findPage(name: 'verify' | 'console'): Promise<Uint8Array | null>
  handleTokens(request: NodeRequest, response: NodeResponse, body: Uint8Array): Promise<void>
  /** `https://host:port`. */
  origin(): string
}

/** Everything that answers without a credential, and nothing that needs one. */
export function publicRoutes(options: PublicOptions): PathRoutes<PublicRoute> {
  const shared = new SharedResources()
  const pages = { ...options, shared }
  const token: PublicRouter = (request, response, { read }) =>
    tokens(options, request, response, read)
  return new PathRoutes([
    open('* /log/**', (request, response, { rest }) => logResource(pages, request, response, rest)),
    proving('* /oauth/**', token),
    // RFC 8414, section 3.1: the issuer's path comes after the well-known part.
    open('* /.well-known/oauth-authorization-server/**', (request, response, asked) => {
      request.url = '/oauth/.well-known/oauth-authorization-server'
      return token(request, response, asked)
    }),
    ...[
      open('GET|HEAD /', home),
      open('GET|HEAD /v1/trust', (_, response) => trust(options, response)),
      proving('POST /v1/enroll', (request, response, { read }) =>
        exchangeJson(response, read, {
          answer: (_, body) => options.enroll(body),
          refuse: (refusal) => options.refuse(request, refusal, 'enroll'),
        }),
      ),
      proving('POST /v1/renew', (request, response, { read }) =>
        exchangeJson(response, read, {
          answer: options.renew,
          refuse: (refusal) => options.refuse(request, refusal, 'renew'),
        }),
      ),
      open('GET|HEAD /verify', (request, response) => page(pages, 'verify', request, response)),
      open('GET|HEAD /console', (request, response) => page(pages, 'console', request, response)),
      open('GET|HEAD /.well-known/oauth-protected-resource', (_, response) =>
        send(response, json(protectedResource(options.origin()))),
      ),
    ].flatMap((route) => alone(route, options)),
  ])
}

const open = (pattern: RoutePattern, router: PublicRouter): PathRoute<PublicRoute> => [
  pattern,
  { router, isProving: false },
]

const proving = (pattern: RoutePattern, router: PublicRouter): PathRoute<PublicRoute> => [
  pattern,
  { router, isProving: true },
]

const reading: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/** Other methods of this path, and all paths below it, are refused without a credential as well. */
function alone(
  route: PathRoute<PublicRoute>,
  options: Pick<PublicOptions, 'refuse'>,
): readonly PathRoute<PublicRoute>[] {
  const [pattern, { isProving }] = route
  const path = pattern.slice(pattern.indexOf(' ') + 1)
  const router: PublicRouter = async (request, response) => {
    const [asked = ''] = (request.url ?? '').split('?', 1)
    const unknown = new Refusal('OPERATION_UNKNOWN', `${request.method ?? ''} ${asked}`)
    await writeReply(response, await options.refuse(request, unknown, 'unread'))
  }
  return [route, [path === '/' ? '* /' : `* ${path as `/${string}`}/**`, { router, isProving }]]
}

async function trust(options: PublicOptions, response: NodeResponse): Promise<void> {
  const { headers, ...answer } = json(await options.trust())
  const fingerprint = { 'countersign-trust-fingerprint': options.trustFingerprint }
  return send(response, { ...answer, headers: { ...headers, ...fingerprint } })
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** A year; we do not control subdomains. */
const strictTransport = 'max-age=31536000'

/**
 * RFC 6797: a browser that was here once never asks in clear again. Not for `localhost`, which
 * other programs of this machine share, and where the rule would hold for every port.
 */
function transportHeaders(request: NodeRequest): Record<string, string> {
  const authority = ('authority' in request ? request.authority : request.headers.host) ?? ''
  const isLocal = /(?:^|\.)localhost(?::\d+)?$/i.test(authority)
  return isLocal ? {} : { 'strict-transport-security': strictTransport }
}

async function send(response: NodeResponse, { status, headers, body }: Answer): Promise<void> {
  const out = response as ServerResponse
  out.writeHead(status, {
    ...headers,
    ...transportHeaders(response.req),
    'content-length': body.length,
    'x-content-type-options': 'nosniff',
  })
  await sendBytes(response, body)
}

/** Sends what every client may have; nothing but the head to one that has it. */
function sendShared(
  request: NodeRequest,
  response: NodeResponse,
  { resource, headers }: { readonly resource: Resource; readonly headers: Answer['headers'] },
): Promise<void> {
  const withTag = { ...headers, etag: resource.etag }
  if (!isKnown(request.headers['if-none-match'], resource)) {
    return send(response, { status: 200, headers: withTag, body: resource.bytes })
  }
  const out = response as ServerResponse
  out.writeHead(304, { ...withTag, ...transportHeaders(request) })
  out.end()
  return Promise.resolve()
}

function json(text: string): Answer {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  return { status: 200, headers, body: utf8(text) }
}

function home(_: NodeRequest, response: NodeResponse): Promise<void> {
  const headers = { location: '/console', 'cache-control': 'no-store' }
  return send(response, { status: 302, headers, body: new Uint8Array(0) })
}

/** Protected resource metadata (RFC 9728), by which an OAuth client finds the token server. */
function protectedResource(origin: string): string {
  return JSON.stringify({
    resource: origin,
    authorization_servers: [`${origin}/oauth`],
    bearer_methods_supported: ['header'],
    tls_client_certificate_bound_access_tokens: true,
  })
}

type Read = () => Promise<ReceivedRequest | Refusal>

/** The vendor's server reads no body itself: what it is given has been bounded and counted. */
async function tokens(
  options: PublicOptions,
  request: NodeRequest,
  response: NodeResponse,
  read: Read,
): Promise<void> {
  const received = await read()
  if (!(received instanceof Refusal)) {
    return options.handleTokens(request, response, received.body)
  }
  const reply = await options.refuse(request, received, 'token')
  return writeReply(response, { ...reply, closes: true })
}

async function exchangeJson(
  response: NodeResponse,
  read: Read,
  { answer, refuse }: Asked,
): Promise<void> {
  const received = await read()
  const body =
    received instanceof Refusal ? received : parseJsonBody(received.body, CONTROL_JSON_LIMITS)
  const result =
    received instanceof Refusal || body instanceof Refusal
      ? (body as Refusal)
      : await answer(received.presented, body).catch(
          // A refusal is returned. A call that throws may have spent the token, or issued a
          // credential that it could not record.
          (cause: unknown) => new Refusal('OUTCOME_UNKNOWN', String(cause)),
        )
  if (result instanceof Refusal) return writeReply(response, await refuse(result))
  return send(response, json(JSON.stringify(result)))
}

interface Asked {
  answer(presented: Presented, body: unknown): Promise<object | Refusal>
  refuse(refusal: Refusal): Promise<Reply>
}

interface SharedOptions extends PublicOptions {
  readonly shared: SharedResources
}

/** C2SP tlog-tiles, section "Parameters": tiles never change, the checkpoint does. */
async function logResource(
  options: SharedOptions,
  request: NodeRequest,
  response: NodeResponse,
  rest: string,
): Promise<void> {
  const [first = '', ...below] = rest.slice(1).split('/')
  const path = isSlotName(first) ? below.join('/') : rest.slice(1)
  if (!reading.has(request.method ?? '')) {
    const unknown = new Refusal('OPERATION_UNKNOWN', `${request.method ?? ''} of the log`)
    return writeReply(response, await options.refuse(request, unknown, 'unread'))
  }
  if (isSlotName(first) && first !== options.slot) {
    return logElsewhere(response, `${first}/${path}`, await options.addressOfLog(first))
  }
  if (path === 'checkpoint' || path === 'retention') {
    const body = await options.findLogResource(path)
    if (body === null) return noResource(response, 'no such resource\n')
    const headers = {
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'max-age=1',
    }
    return send(response, { status: 200, headers, body })
  }
  if (options.isPruned(path)) {
    const body = utf8('pruned; `retention` states the first entry that is left\n')
    return send(response, { status: 410, headers: {}, body })
  }
  const resource = await options.shared.find(`log/${path}`, () => options.findLogResource(path))
  if (resource === null) return noResource(response, 'no such resource\n')
  const headers = {
    'content-type': 'application/octet-stream',
    'cache-control': 'public, max-age=31536000, immutable',
  }
  return sendShared(request, response, { resource, headers })
}

/** To the holder of the log alone, which answers by itself and never sends a client further. */
function logElsewhere(response: NodeResponse, path: string, address: string | null): Promise<void> {
  if (address === null) return noResource(response, 'no process is known to hold that log\n')
  const headers = { location: `${address}/log/${path}`, 'cache-control': 'no-store' }
  return send(response, { status: 307, headers, body: new Uint8Array(0) })
}

function noResource(response: NodeResponse, text: string): Promise<void> {
  return send(response, { status: 404, headers: {}, body: utf8(text) })
}

/** Pages carry their own script and style and may load, send and be framed by nothing else. */
const pageHeaders = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; " +
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'cache-control': 'no-cache',
}

async function page(
  options: SharedOptions,
  name: 'verify' | 'console',
  request: NodeRequest,
  response: NodeResponse,
): Promise<void> {
  const resource = await options.shared.find(name, () => options.findPage(name))
  if (resource === null) return noResource(response, 'this build has no such page\n')
  return sendShared(request, response, { resource, headers: pageHeaders })
}
