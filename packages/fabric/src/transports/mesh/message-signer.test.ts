import { generateKeyPairSync, sign } from 'node:crypto'
import {
  type MessageAlgorithm,
  prepareRequestSignature,
  verifyMessage,
} from '@countersign/protocol'
import { expect, test } from 'vitest'
import { MessageSigner, type UnsignedMessage } from './message-signer.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const rawKey = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32))

function openSigner() {
  const made = new WeakSet()
  let signatures = 0
  const key = {
    keyId: 'k',
    sign(bytes: Uint8Array) {
      signatures += 1
      return new Uint8Array(sign(null, bytes, privateKey))
    },
  }
  return { signer: new MessageSigner(key, made), made, count: () => signatures }
}

const message = (path: string): UnsignedMessage => ({
  label: 'caller',
  prepare: (alg: MessageAlgorithm) =>
    prepareRequestSignature(
      { method: 'GET', path, authority: 'a.test', headers: [] },
      { created: 1, keyId: 'k', nonce: `nonce-of-${path}`, alg },
    ),
})
const paths = (count: number) => Array.from({ length: count }, (_, at) => `/${at}`)

test('the only message of a turn has a signature of its own', async () => {
  const { signer, made } = openSigner()
  const signed = await signer.signInBatch(message('/'))
  expect(signed.alg).toBe('ed25519')
  expect(signed.signature.length).toBe(64)
  expect(made.has(signed)).toBe(true)
  expect(await verifyMessage(rawKey, signed)).toBe(true)
})

test('the messages of one turn have one signature for each 32', async () => {
  const { signer, made, count } = openSigner()
  const all = await Promise.all(paths(33).map((path) => signer.signInBatch(message(path))))
  expect(count()).toBe(2)
  expect(all.map(({ alg }) => alg)).toEqual([
    ...Array.from({ length: 32 }, () => 'countersign-ed25519-batch'),
    'ed25519',
  ])
  for (const [at, signed] of all.entries()) {
    expect(signed.base).toContain(`"@path": /${at}\n`)
    expect(made.has(signed)).toBe(true)
    expect(await verifyMessage(rawKey, signed)).toBe(true)
  }
})

test('a message that cannot be signed does not spoil the others of its turn', async () => {
  const { signer } = openSigner()
  const spoilt: UnsignedMessage = {
    label: 'caller',
    prepare() {
      throw new Error('not plain ASCII')
    },
  }
  const [a, b, c] = await Promise.allSettled(
    [message('/a'), spoilt, message('/c')].map((each) => signer.signInBatch(each)),
  )
  expect([a?.status, b?.status, c?.status]).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  const alone = await Promise.allSettled(
    [message('/a'), spoilt].map((each) => signer.signInBatch(each)),
  )
  expect(alone.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
})

test('each caller gets the failure of the key, and the next turn signs again', async () => {
  let fails = true
  const failing = new MessageSigner(
    {
      keyId: 'k',
      sign(bytes) {
        if (fails) throw new Error('the key is gone')
        return new Uint8Array(sign(null, bytes, privateKey))
      },
    },
    new WeakSet(),
  )
  const asked = paths(3).map((path) => failing.signInBatch(message(path)))
  for (const { status } of await Promise.allSettled(asked)) expect(status).toBe('rejected')
  fails = false
  await expect(failing.signInBatch(message('/'))).resolves.toMatchObject({ alg: 'ed25519' })
})
