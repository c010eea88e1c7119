import type { ServerResponse } from 'node:http'
import { utf8 } from '@countersign/protocol'
import type { Presented } from '../../identity/caller.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Incoming, NodeRequest } from '../http/incoming.ts'
import { CONTROL_JSON_LIMITS, parseJsonBody } from '../http/json-body.ts'
import { type NodeResponse, type Reply, writeReply } from '../http/respond.ts'
import type { PublicSurface } from './gateway.ts'

export interface PublicOptions {
  /** The trust document that agents and auditors pin, as JSON. */
  trust(): string
  enroll(body: unknown): Promise<object | Refusal>
  /** `presented` proves the caller by the certificate that is to be renewed. */
  renew(presented: Presented, body: unknown): Promise<object | Refusal>
  /** Records a refusal of `operation`, and says how to answer it. */
  refuse(request: NodeRequest, refusal: Refusal, operation: string): Promise<Reply>
  findLogResource(path: string): Promise<Uint8Array | null>
  /** A page as HTML, or null. */
  findPage(name: 'verify' | 'console'): Promise<string | null>
  handleTokens(request: NodeRequest, response: NodeResponse, body: Uint8Array): Promise<void>
  /** `https://host:port`. */
  origin(): string
}

/** Everything that answers without a credential, and nothing that needs one. */
export function publicSurfaces(options: PublicOptions): ReadonlyMap<string, PublicSurface> {
  const exactly = (path: string, surface: PublicSurface) => only(path, surface, options)
  return new Map<string, PublicSurface>([
    ['log', (request, response) => logResource(options, request, response)],
    ['oauth', (request, response, read) => tokens(options, request, response, read)],
    // RFC 8414, section 3.1: the issuer's path comes after the well-known part.
    [
      '.well-known/oauth-authorization-server',
      (request, response, read) => {
        request.url = '/oauth/.well-known/oauth-authorization-server'
        return tokens(options, request, response, read)
      },
    ],
    exactly('', home),
    exactly('v1/trust', (_, response) => send(response, json(options.trust()))),
    exactly('v1/enroll', (request, response, read) =>
      exchangeJson(response, read, {
        answer: (_, body) => options.enroll(body),
        refuse: (refusal) => options.refuse(request, refusal, 'enroll'),
      }),
    ),
    exactly('v1/renew', (request, response, read) =>
      exchangeJson(response, read, {
        answer: options.renew,
        refuse: (refusal) => options.refuse(request, refusal, 'renew'),
      }),
    ),
    exactly('verify', (_, response) => page(options, 'verify', response)),
    exactly('console', (_, response) => page(options, 'console', response)),
    exactly('.well-known/oauth-protected-resource', (_, response) =>
      send(response, json(protectedResource(options.origin()))),
    ),
  ])
}

/** Answers at this path alone; what lies below it, or leads out of it, is nothing. */
function only(
  path: string,
  surface: PublicSurface,
  options: Pick<PublicOptions, 'refuse'>,
): [string, PublicSurface] {
  return [
    path,
    async (request, response, read) => {
      const [asked = ''] = (request.url ?? '').split('?', 1)
      if (asked === `/${path}`) return surface(request, response, read)
      const unknown = new Refusal('OPERATION_UNKNOWN', asked)
      await writeReply(response, await options.refuse(request, unknown, 'unread'))
    },
  ]
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

async function send(response: NodeResponse, { status, headers, body }: Answer): Promise<void> {
  const out = response as ServerResponse
  out.writeHead(status, {
    ...headers,
    'content-length': body.length,
    'x-content-type-options': 'nosniff',
  })
  out.end(body)
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

type Read = () => Promise<Incoming | Refusal>

/** The vendor's server reads no body itself: what it is given has been bounded and counted. */
async function tokens(
  options: PublicOptions,
  request: NodeRequest,
  response: NodeResponse,
  read: Read,
): Promise<void> {
  const incoming = await read()
  if (!(incoming instanceof Refusal)) {
    return options.handleTokens(request, response, incoming.body)
  }
  const reply = await options.refuse(request, incoming, 'token')
  return writeReply(response, { ...reply, closes: true })
}

async function exchangeJson(
  response: NodeResponse,
  read: Read,
  { answer, refuse }: Asked,
): Promise<void> {
  const incoming = await read()
  const body =
    incoming instanceof Refusal ? incoming : parseJsonBody(incoming.body, CONTROL_JSON_LIMITS)
  const result =
    incoming instanceof Refusal || body instanceof Refusal
      ? (body as Refusal)
      : await answer(incoming.presented, body).catch(
          (cause: unknown) => new Refusal('UNDECIDED', String(cause)),
        )
  if (result instanceof Refusal) return writeReply(response, await refuse(result))
  return send(response, json(JSON.stringify(result)))
}

interface Asked {
  answer(presented: Presented, body: unknown): Promise<object | Refusal>
  refuse(refusal: Refusal): Promise<Reply>
}

/** C2SP tlog-tiles, section "Parameters": tiles never change, the checkpoint does. */
async function logResource(
  options: PublicOptions,
  request: NodeRequest,
  response: NodeResponse,
): Promise<void> {
  const path = (request.url ?? '').split('?', 1)[0]?.slice('/log/'.length) ?? ''
  const body = await options.findLogResource(path)
  if (body === null) {
    return send(response, { status: 404, headers: {}, body: utf8('no such resource\n') })
  }
  const headers: Record<string, string> =
    path === 'checkpoint'
      ? { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'max-age=1' }
      : {
          'content-type': 'application/octet-stream',
          'cache-control': 'public, max-age=31536000, immutable',
        }
  return send(response, { status: 200, headers, body })
}

/** Pages carry their own script and style and may load, send and be framed by nothing else. */
const pagePolicy =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; " +
  "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

async function page(
  options: PublicOptions,
  name: 'verify' | 'console',
  response: NodeResponse,
): Promise<void> {
  const html = await options.findPage(name)
  if (html === null) {
    return send(response, { status: 404, headers: {}, body: utf8('this build has no such page\n') })
  }
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': pagePolicy,
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-cache',
  }
  return send(response, { status: 200, headers, body: utf8(html) })
}
