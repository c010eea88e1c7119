import { connect } from 'node:http2'
import { request } from 'node:https'
import type { Identity } from '@countersign/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { signed } from '../harness/signed.ts'
import { openWorld, type World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

let world: World
/** May call every name, known or not. */
let anyone: Identity
/** May call none. */
let stranger: Identity
const keys = new Map<Identity, string>()

const versions = ['HTTP/1.1', 'HTTP/2'] as const
type Version = (typeof versions)[number]

/** Receivers that carry no stream, in each way in which one can fail to. */
const receivers = ['whole', 'auto', 'idle', 'nowhere'] as const

beforeAll(async () => {
  const streams = { permit: 'both' } as const
  world = await openWorld({ receivers: [], routes: { auto: { streams }, idle: { streams } } })
  for (const name of ['whole', 'auto', 'idle']) await world.agent(name, ['open'])
  for (const [name, protocol] of [
    ['whole', 'http'],
    ['auto', 'auto'],
  ]) {
    await world.admin('route.put', { name, upstream: world.echo.url, protocol })
  }
  const text = 'permit(principal in Role::"anyone", action == Action::"call", resource);'
  await world.admin('policy.put', { name: 'anyone.cedar', text })
  anyone = await world.agent('anyone', ['anyone'])
  stranger = await world.agent('stranger', [])
  for (const identity of [world.caller, anyone, stranger]) {
    const { name } = identity
    const { key } = (await world.admin('key.create', { agent: name })) as { key: string }
    keys.set(identity, key)
  }
})

afterAll(() => world.close())

/** Signs the head of a stream as `signer`, sends it and one line, and never ends it. */
async function refused(
  version: Version,
  to: string,
  { signer, key }: { readonly signer: Identity; readonly key: string | undefined },
): Promise<Readonly<Record<string, unknown>>> {
  const stated = [['countersign-body', 'streamed']] as const
  const draft = await signed(world.gateway, signer, { to, headers: stated, body: null })
  const { path } = await world.gateway.place(to, '/')
  const fields = {
    ...Object.fromEntries(draft.headers ?? []),
    'content-type': 'application/x-ndjson',
    ...(key === undefined ? {} : { 'x-api-key': key }),
  }
  return version === 'HTTP/2' ? overHttp2(path, fields) : overHttp1(path, fields)
}

type Fields = Readonly<Record<string, string>>

function overHttp1(path: string, headers: Fields): Promise<Readonly<Record<string, unknown>>> {
  const url = new URL(path, world.fabric.origin)
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: 'POST', headers, ca: world.fabric.rootPem, agent: false })
    asked.on('error', reject)
    asked.on('response', (response) => {
      response.resume()
      resolve(response.headers)
      asked.destroy()
    })
    asked.write('{"n":0}\n')
  })
}

function overHttp2(path: string, headers: Fields): Promise<Readonly<Record<string, unknown>>> {
  const session = connect(world.fabric.origin, { ca: world.fabric.rootPem })
  session.on('error', () => undefined)
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':method': 'POST', ':path': path, ...headers })
    stream.on('error', reject)
    stream.on('response', (head) => {
      resolve(head)
      session.destroy()
    })
    stream.write('{"n":0}\n')
  })
}

describe.each(versions)('over %s, a stream that its route does not carry', (version) => {
  const codeFor = async (to: string, signer: Identity) => {
    const head = await refused(version, to, { signer, key: keys.get(signer) })
    expect(head['countersign-may-have-acted']).toBe('false')
    return head['countersign-refusal']
  }

  test(
    verifies(['stream:requests@gateway'], 'is refused by its head, for its reason'),
    async () => {
      const before = world.echo.reached.length
      expect(await codeFor('whole', world.caller)).toBe('CONTENT_UNSUPPORTED')
      expect(await codeFor('auto', world.caller)).toBe('CONTENT_UNSUPPORTED')
      expect(await codeFor('idle', world.caller)).toBe('RECEIVER_UNREACHABLE')
      expect(await codeFor('nowhere', anyone)).toBe('RECEIVER_UNKNOWN')
      expect(world.echo.reached.length).toBe(before)
    },
  )

  test.each(receivers)('tells a caller that may not call %s nothing about it', async (to) => {
    expect(await codeFor(to, stranger)).toBe('NOT_PERMITTED')
  })

  test.each(receivers)('tells an unauthenticated client nothing about %s', async (to) => {
    const head = await refused(version, to, { signer: world.caller, key: undefined })
    expect(head['countersign-refusal']).toBe('CREDENTIAL_MISSING')
  })

  test('is on record as refused, with the reason for the operator', async () => {
    const signing = { signer: world.caller, key: keys.get(world.caller) }
    const head = await refused(version, 'whole', signing)
    const [entry] = await world.explain(String(head['countersign-exchange']))
    expect(entry?.facts).toMatchObject({ code: 'CONTENT_UNSUPPORTED', operation: 'POST' })
    expect(entry?.facts['private.detail']).toContain('streams.permit')
  })
})
