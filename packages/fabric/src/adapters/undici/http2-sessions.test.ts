import { once } from 'node:events'
import { createSecureServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { serverTlsOptions, TrustBundles } from '@countersign/protocol/tls'
import { afterEach, describe, expect, test } from 'vitest'
import { deadline } from '../../../../../test/harness/deadline.ts'
import { forge, forgeDomain, forgedAt } from '../../../../../test/hostile/tls-forge.ts'
import { undiciUpstream } from './upstream.ts'

const minute = 60_000
const { root, intermediate } = forgeDomain()
const receiver = 'spiffe://a.test/agent/receiver'
const caller = forge({ issuer: intermediate, uris: ['spiffe://a.test/fabric/gateway'] })

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

/** Answers each chunk as it comes, and states the end in the trailers. */
function echo(stream: ServerHttp2Stream): void {
  stream.on('error', () => undefined)
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  stream.pipe(stream)
}

async function openReceiver({ uri = receiver, answer = echo } = {}) {
  const shown = forge({ issuer: intermediate, uris: [uri], notAfter: forgedAt + 10 * minute })
  const server = createSecureServer(serverTlsOptions({ ...shown, requestPeer: 'required' }))
  const sessions: ServerHttp2Session[] = []
  let reached = 0
  server.on('session', (session) => sessions.push(session))
  server.on('sessionError', () => undefined)
  server.on('stream', (stream: ServerHttp2Stream) => {
    reached += 1
    answer(stream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `https://127.0.0.1:${port}`, sessions, reached: () => reached }
}

function openUpstream({ url }: { readonly url: string }) {
  const bundles = new TrustBundles()
  bundles.set('a.test', { sequence: 1, roots: [root.certificate] })
  let now = forgedAt
  let isAdmitted = true
  const upstream = undiciUpstream({
    tlsFor: (expected) => ({
      ...{ bundles, now: () => now, expected, credential: caller },
      admits: () => isAdmitted,
      continuesUntil: () => 0,
    }),
    ...{ now: () => now, connectTimeoutMs: 5_000, headersTimeoutMs: 60_000 },
    ...{ connectionsPerEndpointMax: 64, connectionsMax: null },
  })
  closing.push(() => upstream.close())
  return {
    bundles,
    later: (minutes: number) => void (now += minutes * minute),
    enrolAgain: () => void (isAdmitted = false),
    ask: (stream: AsyncIterable<Uint8Array>, signal = new AbortController().signal) =>
      upstream.request(
        { url, spiffeId: receiver },
        {
          ...{ method: 'POST', path: '/', headers: [], body: new Uint8Array(0), still: () => null },
          account: { take: () => undefined, give: () => undefined },
          ...{ isHttp2: true, stream, signal, owner: 'a' },
        },
      ),
  }
}

async function* sends(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text)
}

async function whole(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

describe('a request over HTTP/2', () => {
  test('is streamed and answered with its trailers, on one connection', async () => {
    const at = await openReceiver()
    const { ask } = openUpstream(at)
    for (let round = 0; round < 2; round++) {
      const response = await ask(sends('a', 'b', 'c'))
      expect(await whole(response.body)).toBe('abc')
      expect(response.trailers?.()).toEqual([['grpc-status', '0']])
    }
    expect(at.sessions).toHaveLength(1)
  })

  test('gives the memory of each piece back once it has left', async () => {
    const pieces: Uint8Array<ArrayBuffer>[] = []
    async function* made() {
      for (let n = 0; n < 40; n++) {
        const piece = new Uint8Array(64 * 1024).fill(97 + (n % 26))
        pieces.push(piece)
        yield piece
      }
    }
    const { ask } = openUpstream(await openReceiver())
    const { body } = await ask(made())
    const given = await whole(body)
    expect(given.length).toBe(40 * 64 * 1024)
    const firsts = pieces.map((_, n) => given.charCodeAt(n * 64 * 1024))
    expect(firsts).toEqual(pieces.map((_, n) => 97 + (n % 26)))
    expect(pieces.filter(({ buffer }) => buffer.detached).length).toBeGreaterThan(0)
  })

  test('whose body throws reaches no whole end', async () => {
    const codes: number[] = []
    const answer = (stream: ServerHttp2Stream): void => {
      stream.on('error', () => undefined)
      stream.on('close', () => codes.push(stream.rstCode))
      stream.resume()
    }
    const { ask } = openUpstream(await openReceiver({ answer }))
    const broken = async function* () {
      yield Buffer.from('a')
      throw new Error('it may not go on')
    }
    await expect(ask(broken())).rejects.toMatchObject({ progress: 'sent' })
    await expect.poll(() => codes, deadline).toEqual([8])
  })

  test('is not sent to a peer that proves another identity', async () => {
    const at = await openReceiver({ uri: 'spiffe://a.test/agent/other' })
    const { ask } = openUpstream(at)
    await expect(ask(sends('a'))).rejects.toMatchObject({ progress: 'not-sent' })
    expect(at.reached()).toBe(0)
  })

  test('is not sent to a peer that does not offer it', async () => {
    const shown = forge({ issuer: intermediate, uris: [receiver] })
    const server = createServer(serverTlsOptions({ ...shown, requestPeer: 'required' }))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    closing.push(() => server.close())
    const { ask } = openUpstream({
      url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    })
    const refused = await ask(sends('a')).catch((cause: unknown) => cause)
    expect(refused).toMatchObject({ progress: 'not-sent' })
    expect(String(refused)).toContain('does not offer HTTP/2')
  })

  const endings = {
    'its certificate ended': ({ later }: ReturnType<typeof openUpstream>) => later(15),
    'its agent enrolled again': ({ enrolAgain }: ReturnType<typeof openUpstream>) => enrolAgain(),
    'its root was removed': ({ bundles }: ReturnType<typeof openUpstream>) =>
      bundles.set('a.test', { sequence: 2, roots: [] }),
  }
  test.each(Object.entries(endings))('is not sent on a connection once %s', async (_, end) => {
    const at = await openReceiver()
    const upstream = openUpstream(at)
    expect(await whole((await upstream.ask(sends('a'))).body)).toBe('a')
    end(upstream)
    await expect(upstream.ask(sends('b'))).rejects.toMatchObject({ progress: 'not-sent' })
    expect(at.reached()).toBe(1)
  })

  test('ends with its caller', async () => {
    const at = await openReceiver()
    const leaving = new AbortController()
    const endless = async function* () {
      yield Buffer.from('a')
      await new Promise(() => undefined)
    }
    const { body } = await openUpstream(at).ask(endless(), leaving.signal)
    const reading = whole(body)
    leaving.abort(new Error('left'))
    await expect(reading).rejects.toMatchObject({ progress: 'sent' })
  })

  test('that is answered before its end is not read any further', async () => {
    let isReturned = false
    const answer = (stream: ServerHttp2Stream): void => {
      stream.on('error', () => undefined)
      stream.respond({ ':status': 200 })
      stream.end('enough')
    }
    const { ask } = openUpstream(await openReceiver({ answer }))
    const pouring = async function* () {
      try {
        for (;;) yield Buffer.alloc(1_024)
      } finally {
        isReturned = true
      }
    }
    expect(await whole((await ask(pouring())).body)).toBe('enough')
    await expect.poll(() => isReturned, deadline).toBe(true)
  })
})
