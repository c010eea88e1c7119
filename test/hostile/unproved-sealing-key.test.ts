import {
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto'
import {
  enrollmentProofBytes,
  parseBase64,
  parseBase64Url,
  sealingProof,
  toBase64Url,
} from '@countersign/protocol'
import { parseJoin } from '@countersign/sdk'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { expectRefused } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

interface Sealing {
  readonly key: Uint8Array
  /** Returns the secret that the attacker takes for the agreement with the fabric's key. */
  agreed(enrollmentKey: Uint8Array): Uint8Array
}

const zero = () => new Uint8Array(32)
const littleEndian = (value: bigint): Uint8Array =>
  new Uint8Array(Buffer.from(value.toString(16).padStart(64, '0'), 'hex').toReversed())

const prime = 2n ** 255n - 19n
/** u-coordinates of the points of order 1, 2, 4 and 8, and their second encodings (RFC 7748). */
const smallOrder: readonly bigint[] = [
  0n,
  1n,
  325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n,
  prime - 1n,
  prime,
  prime + 1n,
]
const highBit = 2n ** 255n

const own = generateKeyPairSync('x25519').privateKey
const agreeing =
  (privateKey: KeyObject): Sealing['agreed'] =>
  (enrollmentKey) =>
    diffieHellman({ privateKey, publicKey: publicKeyOf(enrollmentKey) })

const sealings: Readonly<Record<string, (world: World) => Sealing>> = {
  ...Object.fromEntries(
    smallOrder.flatMap((point) => [
      [`on a point of small order, ${point}`, () => ({ key: littleEndian(point), agreed: zero })],
      [
        `on a point of small order, ${point}, with the high bit set`,
        () => ({ key: littleEndian(point + highBit), agreed: zero }),
      ],
    ]),
  ),
  'of another agent': (world) => ({
    key: rawKey(world.caller.sealing.privateKey),
    agreed: agreeing(own),
  }),
  'in a second encoding': () => {
    const key = rawKey(own).slice()
    key[31] = (key[31] ?? 0) | 0x80
    return { key, agreed: agreeing(own) }
  },
}

const enrolling =
  (sealing: (world: World) => Sealing): Attempt =>
  async (world) => {
    const { join } = await world.fabric.invite({
      ...{ kind: 'agent', roles: [], segment: '', attributes: {}, ttlSeconds: 60 },
      name: 'unproved',
    })
    const body = JSON.stringify(await request(parseJoin(join).token, world, sealing(world)))
    const attempt = () => send(world.control, { path: '/v1/enroll', body, as: null })
    await expectRefused(world, 'gateway', { code: 'CREDENTIAL_REJECTED', attempt })
  }

/** An honest enrolment in all but the sealing key and its proof. */
async function request(token: string, { fabric }: World, sealing: Sealing): Promise<object> {
  const { enrollmentKey: text } = JSON.parse(fabric.trust) as { enrollmentKey: string }
  const enrollmentKey = parseBase64(text) ?? new Uint8Array(0)
  const tls = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const signing = generateKeyPairSync('ed25519').privateKey
  const tlsKey = new Uint8Array(tls.publicKey.export({ type: 'spki', format: 'der' }))
  const signingKey = rawKey(signing)
  const bytes = await enrollmentProofBytes({ token, tlsKey, signingKey, sealingKey: sealing.key })
  const agreed = sealing.agreed(enrollmentKey)
  const keys = { sealingKey: sealing.key, enrollmentKey }
  return {
    version: 1,
    token,
    tlsKey: toBase64Url(tlsKey),
    signingKey: toBase64Url(signingKey),
    sealingKey: toBase64Url(sealing.key),
    tlsProof: toBase64Url(
      sign('sha256', bytes, { key: tls.privateKey, dsaEncoding: 'ieee-p1363' }),
    ),
    signingProof: toBase64Url(sign(null, bytes, signing)),
    sealingProof: toBase64Url(await sealingProof(agreed, keys, bytes)),
  }
}

function rawKey(privateKey: KeyObject): Uint8Array {
  const { x = '' } = createPublicKey(privateKey).export({ format: 'jwk' })
  return parseBase64Url(x) ?? new Uint8Array(0)
}

function publicKeyOf(raw: Uint8Array): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: toBase64Url(raw) }, format: 'jwk' })
}

attack(
  verifies(['authenticate:possession'], 'a sealing key that its agent does not hold cannot enrol'),
  {
    gateway: Object.fromEntries(
      Object.entries(sealings).map(([name, sealing]) => [name, enrolling(sealing)]),
    ),
    mesh: 'agents enrol at the fabric',
    queue: 'agents enrol at the fabric',
  },
)
