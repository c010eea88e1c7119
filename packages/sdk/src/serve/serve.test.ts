import { randomBytes } from 'node:crypto'
import { createExchangeId, utf8 } from '@countersign/protocol'
import { type TlsCredential } from '@countersign/protocol/tls'
import { describe, expect, test } from 'vitest'
import { signingKey, TestAuthority, trustDomain } from '../../../../test/harness/sdk-authority.ts'
import { type Shown, TestFabric } from '../../../../test/harness/sdk-fabric.ts'
import { faultOf, sdkLab } from '../../../../test/harness/sdk-lab.ts'

const lab = sdkLab()

describe('a served agent', () => {
  const id = () => createExchangeId('a', Date.now(), randomBytes(10))
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
    const request = { ...lab.fabric.forwarded({ ...base, ...more }), body }
    change(request)
    const response = await lab.fabric.send(lab.fabric.endpoints.get('pay')!, 'pay', request, shown)
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
    await lab.echo()
    expect(await directly(() => undefined)).toBe('200')
    const ofEarlierFabric = id().replace('exc_a_', 'exc_') as ReturnType<typeof id>
    expect(await directly(() => undefined, { id: ofEarlierFabric })).toBe('VERSION_UNSUPPORTED')
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
    await lab.echo()
    const stripped = await directly(({ headers }) => {
      replace(headers, 'signature', null)
      replace(headers, 'signature-input', null)
    })
    expect(stripped).toBe('SIGNATURE_MISSING')
  })

  test('refuses a forwarded request that is brought a second time', async () => {
    await lab.echo()
    lab.fabric.deviations.forwardTwice = true
    expect((await lab.caller.call('pay', { body: 'x' })).status).toBe(200)
    expect(lab.fabric.refusals).toEqual(['MESSAGE_REPLAYED'])
  })

  test('refuses what was signed for another agent, too early or too late', async () => {
    await lab.echo()
    expect(await directly(() => undefined, { name: 'other' })).toBe('SIGNATURE_REJECTED')
    expect(await directly(() => undefined, { createdMs: Date.now() - 120_000 })).toBe(
      'SIGNATURE_REJECTED',
    )
    expect(await directly(() => undefined, { createdMs: Date.now() + 120_000 })).toBe(
      'SIGNATURE_REJECTED',
    )
  })

  test('refuses a genuine forwarded request that an agent brings in place of the fabric', async () => {
    await lab.echo()
    const mallory = await lab.fabric.authority.credential(`spiffe://${trustDomain}/agent/mallory`)
    expect(await directly(() => undefined, {}, { credential: mallory })).toBe('SIGNATURE_REJECTED')
  })

  test('refuses the fabric itself under any key that is not certified for this', async () => {
    await lab.echo()
    const by = async (key: ReturnType<typeof lab.fabric.certify>) =>
      directly(() => undefined, { key })
    const hour = 3_600_000
    const now = Date.now()
    expect(await by(lab.fabric.certify())).toBe('200')
    const refused = {
      'by another key': lab.fabric.certify({}, signingKey()),
      'of another domain': lab.fabric.certify({ trustDomain: 'other.test' }),
      'of another slot': lab.fabric.certify({ slot: 'b' }),
      expired: lab.fabric.certify({ notBefore: now - 2 * hour, notAfter: now - hour }),
      'not valid yet': lab.fabric.certify({ notBefore: now + hour, notAfter: now + 2 * hour }),
      'for too long': lab.fabric.certify({ notAfter: now + 49 * hour }),
      'of another key': { ...lab.fabric.certify(), keyId: 'forward-a-1' },
      'of another process': { ...lab.fabric.certify(), sign: signingKey().sign },
    }
    for (const [what, key] of Object.entries(refused)) {
      expect(await by(key), what).toBe('SIGNATURE_REJECTED')
    }
    const bare = await directly(({ headers }) => replace(headers, 'countersign-key', null))
    expect(bare).toBe('SIGNATURE_REJECTED')
  })

  test('lets a connector speak for its own agent only, when it knows the owner of the key', async () => {
    const key = signingKey()
    await lab.serving(() => new Response('ok'), {
      findKey: (keyId) =>
        Promise.resolve(keyId === 'conn-1' ? { publicKey: key.publicKey, spiffeId: from } : null),
    })
    const signer = { keyId: 'conn-1', sign: key.sign }
    const invoice = await lab.fabric.authority.credential(from)
    const mallory = await lab.fabric.authority.credential(`spiffe://${trustDomain}/agent/mallory`)
    const as = (caller: string, credential: TlsCredential) =>
      directly(() => undefined, { key: signer, caller }, { credential })
    expect(await as(from, invoice)).toBe('200')
    expect(await as(from, mallory)).toBe('SIGNATURE_REJECTED')
    expect(await as(`spiffe://${trustDomain}/agent/other`, invoice)).toBe('SIGNATURE_REJECTED')
  })

  test('closes the connection of a peer without a certificate, or with a foreign one', async () => {
    await lab.echo()
    const stranger = await TestAuthority.create('CN=Stranger')
    const foreign = await stranger.credential(`spiffe://${trustDomain}/fabric/one`)
    await expect(directly(() => undefined, {}, { credential: foreign })).rejects.toThrow()
    await expect(directly(() => undefined, {}, { anonymous: true })).rejects.toThrow()
  })

  test('refuses more than its body limit and answers a handler that throws with a signed 500', async () => {
    await lab.serving(
      () => {
        throw new Error('secret detail')
      },
      { bodyBytesMax: 100 },
    )
    const reply = await lab.caller.call('pay', { body: 'x' })
    expect(reply.status).toBe(500)
    expect(await reply.text()).not.toContain('secret')
    expect((await reply.receipt()).response.by).toBe('callee')
    const large = await lab.caller.call('pay', { body: 'x'.repeat(101) })
    expect(large.status).toBe(413)
  })

  test('reports that its port is taken', async () => {
    const { port } = await lab.echo()
    expect(await faultOf(lab.callee.serve(() => new Response('x'), { port }))).toBe(
      'SERVER_UNAVAILABLE',
    )
  })

  test.each(['http://a.example:1', 'nonsense', 'https://a.example:1/path'])(
    'under an address that no caller could verify is refused: %s',
    async (expose) => {
      const serving = lab.callee.serve(() => new Response('x'), { expose })
      await expect(serving).rejects.toMatchObject({ code: 'REQUEST_MALFORMED' })
      await expect(serving).rejects.toThrow('an origin of https')
    },
  )

  test('notifies the application when its peer has left', async () => {
    const { promise: left, resolve } = Promise.withResolvers<void>()
    await lab.servingNode((request, response) => {
      request.once('close', () => resolve())
      response.writeHead(200, { 'content-type': 'text/event-stream' })
    })
    const leaving = new AbortController()
    await lab.caller.fetch('https://pay.countersign.internal/', { signal: leaving.signal })
    leaving.abort()
    await left
  })

  test('withdraws its endpoint when it closes', async () => {
    const served = await lab.echo()
    expect(lab.fabric.endpoints.has('pay')).toBe(true)
    await served.close()
    expect(lab.fabric.endpoints.has('pay')).toBe(false)
  })
})
