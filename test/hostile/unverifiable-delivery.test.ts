import { sign } from 'node:crypto'
import {
  createSignatureBase,
  createSignatureInput,
  formatContentDigest,
  formatSignedResponseHeaders,
  responseSignatureTag,
  utf8,
} from '@countersign/protocol'
import { type Identity, verify } from '@countersign/sdk'
import fc from 'fast-check'
import { expect } from 'vitest'
import { type AnswerAttack, answeredAtGateway, answeredOnMesh } from '../harness/answer-attacks.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Door, type Draft, field, refusalOf, send } from '../harness/doors.ts'
import type { Reached } from '../harness/echo.ts'
import type { MaliciousAnswer } from '../harness/malicious-server.ts'
import { sha256, signed } from '../harness/signed.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const rpc = (method: string): string =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { id: 't-1', name: 'pay' } })

const ask = (method: string, path: string, body: string | null = null, to = 'echo'): Draft => ({
  ...{ to, method, path, body },
})

/** Requests whose operation one reader of paths could take for another than the next reader. */
const spelled: readonly Draft[] = [
  ...['/Tasks/5', '/v1/tasks/5/', '/Tasks/5:Subscribe', '/%74asks/5', '/TASKS.json'].flatMap(
    (path) => [ask('GET', path), ask('HEAD', path)],
  ),
  ...['/Tasks/5:CANCEL', '/tasks/5%3Acancel', '/message:send', '/Message:Stream', '/x'].map(
    (path) => ask('POST', path),
  ),
  ...['/x/message:send/', '/message%3Astream', '/Tasks/5:cancel/x', '/tasks'].map((path) =>
    ask('POST', path, '{}'),
  ),
  ...['/message:stream', '/x/tasks/5:cancel', '/rpc/tasks/1:subscribe', '/tasks/1'].flatMap(
    (path) => [
      ask('POST', path, rpc('SendMessage'), 'a2a'),
      ask('POST', path, rpc('tools/list'), 'mcp'),
    ],
  ),
  ask('GET', '/message:send', null, 'mcp'),
  ask('DELETE', '/tasks/5:cancel', null, 'mcp'),
  ask('GET', '/tasks/5', null, 'mcp'),
]

const pieces = [
  ...['tasks', 'Tasks', '%74asks', 'tasks.json', 'tasks;v=1', '5', '5:cancel', '5%3ACancel'],
  ...['5:subscribe', 'message:send', 'Message:Stream', 'message%3asend', 'v1', 'card', 'x%20y'],
  ...['.well-known', 'agent-card.json', 'agent.json', 'extendedAgentCard', 'a2a.A2AService'],
]
const drafts = fc.record({
  to: fc.constantFrom('echo', 'a2a', 'mcp'),
  method: fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'),
  path: fc
    .array(fc.constantFrom(...pieces), { maxLength: 3 })
    .chain((parts) => fc.constantFrom(`/${parts.join('/')}`, `/${parts.join('/')}?a=1`)),
  body: fc.constantFrom(null, '{}', ...['SendMessage', 'tasks/get', 'tools/call'].map(rpc)),
})

/** Sends a signed request, the receipt of which has to verify; whether it was let through. */
async function proven(world: World, door: Door, draft: Draft): Promise<boolean> {
  const heard = await send(door, await signed(door, world.caller, draft))
  const what = JSON.stringify([draft, heard.status])
  // Neither end of the exchange is left without a decision.
  expect(heard.status, what).not.toBe(503)
  const exchange = field(heard, 'countersign-exchange') ?? ''
  const receipt = await send(world.control, {
    ...{ method: 'GET', path: `/v1/receipts/${exchange}`, body: null },
    as: world.caller.credential(),
  })
  expect(receipt.status, what).toBe(200)
  const verified = await verify(receipt.body, world.caller.trust).catch((fault: Error) => {
    throw new Error(`${what}: ${fault.message}`)
  })
  // A JSON-RPC client receives some refusals with this status, too.
  const isAnswered = heard.status === 200 && refusalOf(heard) === null
  if (isAnswered) expect(verified.request.by, what).toBe('caller')
  return verified.request.by === 'caller'
}

const eachSpelling =
  (at: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    let intended = 0
    for (const draft of spelled) if (await proven(world, world[at], draft)) intended++
    expect(intended).toBeGreaterThan(10)
  }

const anyRequest =
  (at: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    await fc.assert(
      fc.asyncProperty(drafts, async (draft) => {
        await proven(world, world[at], draft)
      }),
      { numRuns: 150 },
    )
  }

/**
 * A stream whose head is countersigned with a digest, of which nothing on record could be compared.
 */
const digested =
  (digest: string, component = '"content-digest"') =>
  (reached: Reached, { signing }: Identity): MaliciousAnswer => {
    const fields: [string, string][] = [
      ['content-type', 'text/event-stream'],
      ['content-digest', digest],
    ]
    const headers: [string, string][] = []
    for (let at = 0; at + 1 < reached.rawHeaders.length; at += 2) {
      headers.push([(reached.rawHeaders[at] ?? '').toLowerCase(), reached.rawHeaders[at + 1] ?? ''])
    }
    const request = { method: reached.method, path: reached.url, authority: '', headers }
    const input = createSignatureInput({
      components: ['"@status"', component, '"signature";req'],
      created: Math.floor(Date.now() / 1000),
      ...{ keyId: signing.keyId, tag: responseSignatureTag },
    })
    const base = createSignatureBase(input, { response: { status: 200, headers: fields }, request })
    const signature = new Uint8Array(sign(null, utf8(base), signing.privateKey))
    const proof = formatSignedResponseHeaders('callee', input, signature)
    return { status: 200, headers: [...fields, ...proof], body: events }
  }

const events = 'data: {"a":1}\n\n'
const code = 'COUNTERSIGNATURE_REJECTED'
const streams: Readonly<Record<string, AnswerAttack>> = {
  'its own digest': { code, answer: digested(formatContentDigest(sha256(utf8(events)))) },
  'the digest of nothing': { code, answer: digested(formatContentDigest(sha256(utf8('')))) },
  'a digest that is none': { code, answer: digested('zzz') },
  'its digest where none is asked for': { code, role: 'open', answer: digested('zzz') },
  'a part of its digest': {
    code,
    answer: digested(formatContentDigest(sha256(utf8(''))), '"content-digest";key="sha-256"'),
  },
}

const answered = (at: (attack: AnswerAttack) => Attempt) =>
  Object.fromEntries(
    Object.entries(streams).map(([name, each]) => [`a stream signed with ${name}`, at(each)]),
  )

attack(
  verifies(['receipt:whatever-is-recorded'], 'nothing is delivered that no receipt can prove'),
  {
    gateway: {
      'a request by any spelling of its path': eachSpelling('gateway'),
      'any request': anyRequest('gateway'),
      ...answered(answeredAtGateway),
      'a stream signed with its own digest, where the caller signed': answeredAtGateway({
        ...{ code, isSigned: true, answer: digested(formatContentDigest(sha256(utf8(events)))) },
      }),
    },
    mesh: {
      'a request by any spelling of its path': eachSpelling('mesh'),
      'any request': anyRequest('mesh'),
      ...answered(answeredOnMesh),
    },
    queue: 'its operations stand in no path that another reader reads',
  },
)
