import { createPublicKey, verify } from 'node:crypto'
import { keyCertificateInput, parseKeyCertificate } from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { memorySecrets, testClock } from '../../../../test/contracts/identity-lab.ts'
import { storedKeys } from '../adapters/stored-keys/key-provider.ts'
import { systemRandom } from '../lib/random.ts'
import { boundedKeys } from './bounded-keys.ts'
import { type Certification, type CertifiedKeyOptions, openCertifiedKey } from './certified-key.ts'
import { KeyFault, type KeyProvider, newestVersion } from './key-provider.ts'

const hourMs = 3_600_000
const bytes = new TextEncoder().encode('a request')

/** A process, its log, and a provider that can be away, slow or wrong. */
function lab() {
  const clock = testClock()
  const secrets = memorySecrets()
  const kept = storedKeys({ secrets: memorySecrets(), clock, random: systemRandom })
  const recorded: Certification[] = []
  const steps: string[] = []
  const away: { fault: KeyFault | null; until: Promise<void> | null } = { fault: null, until: null }
  const provider: KeyProvider = {
    engine: 'the vault',
    async open(name, algorithm) {
      if (away.fault !== null) throw away.fault
      return kept.open(name, algorithm)
    },
    async sign(name, message) {
      steps.push('certified')
      await away.until
      if (away.fault !== null) throw away.fault
      return kept.sign(name, message)
    },
    encrypt: (...given) => kept.encrypt(...given),
    decrypt: (...given) => kept.decrypt(...given),
    rotate: (...given) => kept.rotate(...given),
  }
  const options: CertifiedKeyOptions = {
    ...{ provider, certifier: 'ledger/slots', trustDomain: 'acme.test', purpose: 'forward' },
    ...{ slot: 'a', clock, lifetimeMs: 24 * hourMs },
    secrets: {
      ...secrets,
      async put(name, value) {
        steps.push('stored')
        await secrets.put(name, value)
      },
    },
    async record(certification) {
      steps.push('recorded')
      recorded.push(certification)
    },
  }
  return { clock, secrets, provider, recorded, steps, away, options }
}

const unavailable = new KeyFault('KEY_UNAVAILABLE', 'the vault is sealed')

describe('a certified key', () => {
  test('signs under a certificate of the provider, which is on record before it is stored', async () => {
    const { options, provider, recorded, steps } = lab()
    const key = await openCertifiedKey(options)
    expect(steps).toEqual(['certified', 'recorded', 'stored'])
    expect(recorded.map(({ text }) => text)).toEqual([key.certificate])
    const { certificate, statement, signature } = parseKeyCertificate(key.certificate)
    const { publicKey } = newestVersion(await provider.open('ledger/slots', 'Ed25519'))
    const spki = { format: 'der', type: 'spki' } as const
    const certifier = createPublicKey({ key: Buffer.from(publicKey ?? []), ...spki })
    expect(verify(null, keyCertificateInput(statement), certifier, signature)).toBe(true)
    const jwk = {
      kty: 'OKP',
      crv: 'Ed25519',
      x: Buffer.from(certificate.publicKey).toString('base64url'),
    }
    const own = createPublicKey({ key: jwk, format: 'jwk' })
    expect(verify(null, bytes, own, key.sign(bytes))).toBe(true)
    key.close()
  })

  test('is the one of the last start while half of its life is left, with one entry', async () => {
    const { options, recorded, clock } = lab()
    const first = await openCertifiedKey(options)
    first.close()
    clock.advance(11 * hourMs)
    const second = await openCertifiedKey(options)
    second.close()
    expect(second.certificate).toBe(first.certificate)
    expect(second.sign(bytes)).toEqual(first.sign(bytes))
    expect(recorded).toHaveLength(1)
  })

  test('goes on until its end while the provider is away, and then signs nothing', async () => {
    const { options, away, clock } = lab()
    const key = await openCertifiedKey(options)
    key.close()
    away.fault = unavailable
    clock.advance(24 * hourMs - 1)
    await expect(key.renew()).rejects.toBe(unavailable)
    expect(key.fault()).toBeNull()
    key.sign(bytes)
    clock.advance(1)
    expect(key.fault()).toContain('has expired')
    expect(() => key.sign(bytes)).toThrow('ledger/slots has certified no other one')
    away.fault = null
    await key.renew()
    expect(key.fault()).toBeNull()
    key.sign(bytes)
  })

  test('is used by a start without its provider, unless it has expired', async () => {
    const { options, away, clock } = lab()
    const first = await openCertifiedKey(options)
    first.close()
    away.fault = unavailable
    clock.advance(20 * hourMs)
    const second = await openCertifiedKey(options)
    second.close()
    expect(second.certificate).toBe(first.certificate)
    clock.advance(4 * hourMs)
    await expect(openCertifiedKey(options)).rejects.toBe(unavailable)
  })

  test('signs with the old key while a slow provider certifies the new one', async () => {
    const { options, away, steps } = lab()
    const key = await openCertifiedKey(options)
    key.close()
    const before = key.certificate
    let answer = (): void => undefined
    away.until = new Promise((resolve) => {
      answer = resolve
    })
    const renewals = [key.renew(), key.renew()]
    expect(key.certificate).toBe(before)
    key.sign(bytes)
    answer()
    await Promise.all(renewals)
    expect(key.certificate).not.toBe(before)
    expect(steps.filter((step) => step === 'certified')).toHaveLength(2)
  })

  test('is not replaced by an answer that comes too late', async () => {
    const { options, provider, away } = lab()
    const bounded = boundedKeys(provider, { callMs: 5, callsMax: 4 })
    const key = await openCertifiedKey({ ...options, provider: bounded })
    key.close()
    const before = key.certificate
    let answer = (): void => undefined
    away.until = new Promise((resolve) => {
      answer = resolve
    })
    await expect(key.renew()).rejects.toMatchObject({ code: 'KEY_TIMEOUT' })
    answer()
    await away.until
    expect(key.certificate).toBe(before)
  })

  test('is not used when its certificate could not be recorded', async () => {
    const { options, secrets } = lab()
    const record = () => Promise.reject(new Error('the disk is full'))
    await expect(openCertifiedKey({ ...options, record })).rejects.toThrow('the disk is full')
    expect(secrets.names()).toEqual([])
  })

  test('has a greater serial each time, also by a clock that was set back', async () => {
    const { options, clock } = lab()
    const key = await openCertifiedKey(options)
    key.close()
    const serials = [parseKeyCertificate(key.certificate).certificate.serial]
    for (const ms of [0, -hourMs, hourMs]) {
      clock.advance(ms)
      await key.renew()
      serials.push(parseKeyCertificate(key.certificate).certificate.serial)
    }
    expect(serials).toEqual([...new Set(serials)].toSorted((a, b) => a - b))
  })

  test.each([
    ['of another slot', { slot: 'b' }],
    ['of another domain', { trustDomain: 'other.test' }],
    ['of another certifying key', { certifier: 'another' }],
  ])('that is stored and %s is not used', async (_, changed) => {
    const { options, secrets } = lab()
    const first = await openCertifiedKey(options)
    first.close()
    const other = { ...options, ...changed }
    const stored = (await secrets.find('certified/forward/a')) ?? new Uint8Array()
    await secrets.put(`certified/forward/${other.slot}`, stored)
    const second = await openCertifiedKey(other)
    second.close()
    expect(second.certificate).not.toBe(first.certificate)
  })

  test('of a certifying key that was rotated away is used for its overlap only', async () => {
    const { options, provider, clock } = lab()
    const first = await openCertifiedKey(options)
    first.close()
    await provider.rotate('ledger/slots', { from: 1, overlapMs: hourMs })
    const during = await openCertifiedKey(options)
    during.close()
    expect(during.certificate).toBe(first.certificate)
    clock.advance(hourMs + 1)
    const after = await openCertifiedKey(options)
    after.close()
    expect(parseKeyCertificate(after.certificate).certificate.certifier.version).toBe(2)
  })

  test('is not certified by a provider that signs with another version than it stated', async () => {
    const { options, provider } = lab()
    const rotating: KeyProvider = {
      ...provider,
      async sign(name, message) {
        await provider.rotate(name, { from: 1, overlapMs: hourMs })
        return provider.sign(name, message)
      },
    }
    await expect(openCertifiedKey({ ...options, provider: rotating })).rejects.toThrow(
      'another version',
    )
  })
})
