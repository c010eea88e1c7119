import {
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto'
import {
  type EnrollmentGrant,
  type EnrollmentRequest,
  enrollmentProofBytes,
  parseBase64Url,
  renewalProofBytes,
  sealingProof,
  toBase64Url,
} from '@countersign/protocol'
import type { TlsCredential } from '@countersign/protocol/tls'
import {
  memoryStateStore,
  StateMemory,
} from '../../packages/fabric/src/adapters/memory/state-store.ts'
import { memoryUsedValues } from '../../packages/fabric/src/adapters/memory/used-values.ts'
import { oidcTokenServer } from '../../packages/fabric/src/adapters/oidc/token-server.ts'
import { storedKeys } from '../../packages/fabric/src/adapters/stored-keys/key-provider.ts'
import { derCertificateWriter } from '../../packages/fabric/src/adapters/x509/der-certificate-writer.ts'
import type {
  FindNoRoom,
  RecordCertificate,
} from '../../packages/fabric/src/identity/enrollment.ts'
import { createGuards } from '../../packages/fabric/src/identity/guards.ts'
import { type Identity, openIdentity } from '../../packages/fabric/src/identity/identity.ts'
import type { JoinTerms } from '../../packages/fabric/src/identity/join-tokens.ts'
import { createReplayGuard } from '../../packages/fabric/src/identity/replay-guard.ts'
import {
  createDirectory,
  type StoredDirectory,
} from '../../packages/fabric/src/identity/stored-directory.ts'
import type { KeyProvider } from '../../packages/fabric/src/keys/key-provider.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { Refusal } from '../../packages/fabric/src/lib/refusal.ts'
import type { KeyStore } from '../../packages/fabric/src/lib/stored-key.ts'
import type { StateStore } from '../../packages/fabric/src/state/state-store.ts'
import { StateStream, type StreamLimits } from '../../packages/fabric/src/state/state-stream.ts'

/** Of every fabric of the lab, so that a request can be made before any is open. */
export const enrollmentKey = generateKeyPairSync('x25519')

export function memorySecrets(): KeyStore & { readonly names: () => readonly string[] } {
  const values = new Map<string, Uint8Array>()
  return {
    find: async (name) => values.get(name) ?? null,
    put: async (name, value) => {
      values.set(name, value)
    },
    create: async (name, value) => {
      if (!values.has(name)) values.set(name, value)
      return values.get(name) ?? value
    },
    names: () => [...values.keys()].toSorted(),
  }
}

/** Keys in `secrets`, as the embedded engine keeps them. */
export function testKeys(secrets: KeyStore): KeyProvider {
  return storedKeys({ secrets, clock: systemClock, random: systemRandom })
}

/** A clock that stands still until it is moved. */
export function testClock() {
  let offsetMs = 0
  const start = Math.floor(Date.now() / 1000) * 1000
  return {
    now: () => start + offsetMs,
    monotonic: () => offsetMs,
    advance: (ms: number) => {
      offsetMs += ms
    },
  }
}

/** The state as a process follows it that starts now. */
export function openState(
  store: StateStore,
  clock = testClock(),
  limits: Partial<StreamLimits> = {},
): Promise<StateStream> {
  return StateStream.open({
    ...{ store, clock, limits },
    onFatal: (cause) => {
      throw new Error('the state cannot be followed', { cause })
    },
  })
}

/** The directory as another process has it that starts now. */
export async function readDirectory(store: StateStore): Promise<StoredDirectory> {
  const stream = await openState(store)
  return createDirectory(stream, createGuards(stream))
}

/** There is always room. */
export const recordsAll: FindNoRoom = () => Promise.resolve(null)
/** A ledger that takes every certificate. */
export const recordNothing: RecordCertificate = () => Promise.resolve(null)

/** The state and the keys that the processes of one fabric share. */
export interface TestPlace {
  /** Opens the state, each time as another process would. */
  readonly openStore: () => Promise<StateStore>
  readonly secrets: KeyStore
  readonly rootKeys: KeyProvider
}

export function testPlace(openStore?: () => Promise<StateStore>): TestPlace {
  const memory = new StateMemory()
  return {
    openStore: openStore ?? (async () => memoryStateStore(memory)),
    secrets: memorySecrets(),
    rootKeys: testKeys(memorySecrets()),
  }
}

/** The identity room on memory adapters. `url` is asked for late, as with a real listener. */
export async function openTestIdentity(
  url = () => 'https://localhost:8443',
  record: RecordCertificate = recordNothing,
  { openStore, secrets, rootKeys }: TestPlace = testPlace(),
  limits: Partial<StreamLimits> = {},
) {
  const clock = testClock()
  const store = await openStore()
  const state = await openState(store, clock, limits)
  const enrollmentSecret = enrollmentKey.privateKey.export({ format: 'der', type: 'pkcs8' })
  await secrets.put('identity/enrollment', new Uint8Array(enrollmentSecret))
  const identity = await openIdentity({
    trustDomain: 'a.test',
    state,
    secrets,
    rootKeys,
    tokenKeys: storedKeys({ secrets, clock, random: systemRandom }),
    certificateWriter: derCertificateWriter(),
    replayGuard: createReplayGuard(
      memoryUsedValues({ clock, lostAt: Number.NEGATIVE_INFINITY }),
      clock,
    ),
    openTokenServer: oidcTokenServer,
    record,
    findNoRoom: recordsAll,
    clock,
    random: systemRandom,
    server: { name: 'gateway', names: [] },
    issuer: () => `${url()}/oauth`,
    audience: url,
  })
  return { identity, clock, store, state }
}

/** The keys that an agent holds before it has an identity. */
export interface AgentSecrets {
  readonly tls: KeyObject
  readonly signing: KeyObject
  readonly sealing: KeyObject
}

export function newAgentSecrets(): AgentSecrets {
  return {
    tls: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
    signing: generateKeyPairSync('ed25519').privateKey,
    sealing: generateKeyPairSync('x25519').privateKey,
  }
}

export function publicTlsKey(key: KeyObject): Uint8Array {
  const jwk = key.export({ format: 'jwk' })
  const point = Buffer.concat([jwk.x, jwk.y].map((part) => Buffer.from(part ?? '', 'base64url')))
  const head = '3059301306072a8648ce3d020106082a8648ce3d03010703420004'
  return new Uint8Array(Buffer.concat([Buffer.from(head, 'hex'), point]))
}

export async function enrollmentRequest(
  token: string,
  secrets: AgentSecrets,
): Promise<EnrollmentRequest> {
  const tlsKey = publicTlsKey(secrets.tls)
  const signingKey = rawKey(secrets.signing)
  const sealingKey = rawKey(secrets.sealing)
  const bytes = await enrollmentProofBytes({
    token,
    tlsKey,
    signingKey,
    sealingKey,
  })
  return {
    version: 1,
    token,
    tlsKey: toBase64Url(tlsKey),
    signingKey: toBase64Url(signingKey),
    sealingKey: toBase64Url(sealingKey),
    tlsProof: toBase64Url(p1363(secrets.tls, bytes)),
    signingProof: toBase64Url(sign(null, bytes, secrets.signing)),
    sealingProof: toBase64Url(await sealingProofOf(secrets.sealing, sealingKey, bytes)),
  }
}

/** As the holder of `privateKey` proves it to hold `sealingKey`, which need not be its own. */
export function sealingProofOf(
  privateKey: KeyObject,
  sealingKey: Uint8Array,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  const agreed = diffieHellman({ privateKey, publicKey: enrollmentKey.publicKey })
  const keys = { sealingKey, enrollmentKey: rawKey(enrollmentKey.privateKey) }
  return sealingProof(agreed, keys, bytes)
}

function rawKey(privateKey: KeyObject): Uint8Array {
  const { x = '' } = createPublicKey(privateKey).export({ format: 'jwk' })
  return new Uint8Array(Buffer.from(x, 'base64url'))
}

export function renewalRequest(fingerprint: string, tls: KeyObject) {
  const tlsKey = publicTlsKey(tls)
  const bytes = renewalProofBytes(new Uint8Array(Buffer.from(fingerprint, 'hex')), tlsKey)
  return { version: 1, tlsKey: toBase64Url(tlsKey), tlsProof: toBase64Url(p1363(tls, bytes)) }
}

function p1363(key: KeyObject, bytes: Uint8Array): Uint8Array {
  return sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' })
}

export interface EnrolledAgent extends TlsCredential {
  readonly grant: EnrollmentGrant
  readonly secrets: AgentSecrets
}

export async function enrollAgent(
  { joinTokens, enrollment }: Identity,
  terms: JoinTerms,
): Promise<EnrolledAgent> {
  const { text } = await joinTokens.create(terms)
  const secrets = newAgentSecrets()
  const grant = await enrollment.enroll(await enrollmentRequest(text, secrets))
  if (grant instanceof Refusal) throw new Error(grant.detail)
  return { grant, secrets, certificateChain: chainOf(grant), privateKey: secrets.tls }
}

export function chainOf(grant: EnrollmentGrant): readonly Uint8Array[] {
  return grant.certificateChain.map((each) => parseBase64Url(each) ?? new Uint8Array())
}
