import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat, parseUtf8, toBase64Url, utf8 } from '../encoding/bytes.ts'
import {
  type ChannelDescriptor,
  encodeDescriptor,
  encodeSignedDescriptor,
  parseDescriptor,
  parseSignedDescriptor,
} from './channel-descriptor.ts'
import {
  encodeFrames,
  encodeLeaseRequest,
  encodeLeases,
  encodePublishAnswer,
  encodeSettlement,
  encodeSettlementAnswer,
  hasFormerVerdicts,
  parseFrames,
  parseLeaseRequest,
  parseLeases,
  parsePublishAnswer,
  parseSettlement,
  parseSettlementAnswer,
} from './channel-format.ts'

const limits = { countMax: 4, frameBytesMax: 50, bytesMax: 200 }
const token = fc.stringMatching(/^[A-Za-z0-9_-]{22}$/)

describe('frames', () => {
  test('parsing undoes encoding', () => {
    const parts = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 4 })
    fc.assert(
      fc.property(parts, (made) => {
        expect(parseFrames(encodeFrames(made), limits)).toEqual(made)
      }),
    )
  })

  test('too many, too long, empty, cut or more than announced is refused', () => {
    const one = new Uint8Array(10)
    expect(parseFrames(encodeFrames([one, one, one, one, one]), limits)).toBeNull()
    expect(parseFrames(encodeFrames([new Uint8Array(51)]), limits)).toBeNull()
    expect(parseFrames(encodeFrames([new Uint8Array(0)]), limits)).toBeNull()
    expect(parseFrames(encodeFrames([one]).subarray(0, 12), limits)).toBeNull()
    expect(parseFrames(concat(encodeFrames([one]), new Uint8Array(2)), limits)).toBeNull()
    expect(parseFrames(utf8('\xff\xff\xff\xff'), limits)).toBeNull()
  })
})

describe('leases and answers', () => {
  test('parsing undoes encoding', () => {
    const lease = fc.record({
      offset: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      attempt: fc.integer({ min: 1, max: 65535 }),
      leaseUntil: fc.nat(),
      leaseToken: token,
      sealed: fc.uint8Array({ maxLength: 60 }),
    })
    fc.assert(
      fc.property(fc.array(lease, { maxLength: 5 }), (made) => {
        expect(parseLeases(encodeLeases(made))).toEqual(made)
      }),
    )
    const answer = {
      epoch: 3,
      results: [
        { state: 'stored', offset: 7 },
        { state: 'full', offset: null },
      ],
    } as const
    expect(parsePublishAnswer(encodePublishAnswer(answer))).toEqual(answer)
    expect(parseSettlementAnswer(encodeSettlementAnswer([true, false]))).toEqual([true, false])
  })

  test('an answer with an unknown state or field is refused', () => {
    expect(parsePublishAnswer(utf8('{"epoch":1,"results":[["lost",1]]}'))).toBeNull()
    expect(parsePublishAnswer(utf8('{"epoch":1,"results":[],"more":1}'))).toBeNull()
    expect(parseSettlementAnswer(utf8('{"settled":[1]}'))).toBeNull()
  })
})

describe('lease request', () => {
  const good = { group: 'workers', count: 10, leaseMs: 30_000, waitMs: 0 }

  test('parsing undoes encoding', () => {
    expect(parseLeaseRequest(encodeLeaseRequest(good))).toEqual(good)
  })

  test.each([
    { ...good, count: 0 },
    { ...good, count: 257 },
    { ...good, leaseMs: 999 },
    { ...good, waitMs: 25_001 },
    { ...good, group: 'Workers' },
    { ...good, count: 1.5 },
    { ...good, more: 1 },
  ])('a value out of its bounds is refused: %j', (value) => {
    expect(parseLeaseRequest(utf8(JSON.stringify(value)))).toBeNull()
  })

  test('a member that stands there twice is refused', () => {
    const twice = '{"group":"a","group":"b","count":1,"leaseMs":1000,"waitMs":0}'
    expect(parseLeaseRequest(utf8(twice))).toBeNull()
  })
})

describe('settlement', () => {
  const item = { offset: 1, leaseToken: 'abc', verdict: 'ack', delayMs: 0, reason: '' } as const
  const good = {
    group: 'g1',
    items: [item, { ...item, verdict: 'reject', reason: 'BAD_SIGNATURE' }],
    signingKeyId: 'key-1',
    countersignature: new Uint8Array(64).fill(3),
  } as const

  test('parsing undoes encoding', () => {
    expect(parseSettlement(encodeSettlement(good))).toEqual(good)
  })

  test.each([
    { ...good, items: [] },
    { ...good, items: [{ ...item, verdict: 'reject' as const }] },
    { ...good, items: [{ ...item, reason: 'why' }] },
    { ...good, items: [{ ...item, leaseToken: 'a b' }] },
    { ...good, items: [{ ...item, offset: 0 }] },
    { ...good, items: [{ ...item, verdict: 'reject' as const, reason: 'a\nb' }] },
    { ...good, countersignature: new Uint8Array(63) },
    { ...good, signingKeyId: '' },
  ])('a settlement that states anything else is refused (%#)', (settlement) => {
    expect(parseSettlement(encodeSettlement(settlement))).toBeNull()
  })

  test('verdicts of earlier versions are refused, and known for what they are', () => {
    const text = parseUtf8(encodeSettlement(good))
    for (const [now, former] of [
      ['"ack"', '"done"'],
      ['"ack"', '"retry"'],
      ['"reject"', '"dead"'],
    ] as const) {
      const body = utf8(text.replace(now, former))
      expect(parseSettlement(body)).toBeNull()
      expect(hasFormerVerdicts(body)).toBe(true)
    }
    expect(hasFormerVerdicts(encodeSettlement(good))).toBe(false)
    for (const body of [
      '',
      '7',
      '{"items":7}',
      '{"items":["done"]}',
      text.replace('ack', 'nope'),
    ]) {
      expect(hasFormerVerdicts(utf8(body))).toBe(false)
    }
  })
})

describe('channel descriptor', () => {
  const member = (name: string) => ({
    name,
    signing: { keyId: `${name}-s`, publicKey: new Uint8Array(32).fill(1) },
    sealing: { keyId: `${name}-e`, suite: 1, publicKey: new Uint8Array(32).fill(2) },
  })
  const good: ChannelDescriptor = {
    trustDomain: 'example.org',
    channel: 'orders',
    epoch: 3,
    floor: 2,
    suites: [1],
    members: [member('alice'), member('bob')],
    issuedAt: 1_700_000_000_000,
  }

  test('parsing undoes encoding', () => {
    expect(parseDescriptor(encodeDescriptor(good))).toEqual(good)
    const signed = { payload: encodeDescriptor(good), keyId: 'k', signature: new Uint8Array(64) }
    expect(parseSignedDescriptor(encodeSignedDescriptor(signed))).toEqual(signed)
  })

  test.each<Partial<ChannelDescriptor>>([
    { members: [member('bob'), member('alice')] },
    { members: [member('bob'), member('bob')] },
    { floor: 4 },
    { floor: 0 },
    { epoch: 0 },
    { channel: 'Orders' },
    { suites: [1, -1] },
  ])('a descriptor that contradicts itself is refused: %j', (change) => {
    expect(parseDescriptor(encodeDescriptor({ ...good, ...change }))).toBeNull()
  })

  test('the same descriptor written in another way is refused', () => {
    const text = new TextDecoder().decode(encodeDescriptor(good))
    expect(parseDescriptor(utf8(text.replace('{', '{ ')))).toBeNull()
    expect(parseDescriptor(utf8(text.replace('{', '{"epoch":9,')))).toBeNull()
    expect(parseDescriptor(utf8(text.replace('}]', ',"more":1}]')))).toBeNull()
    expect(parseSignedDescriptor(utf8(`{"payload":"${toBase64Url(utf8('x'))}="}`))).toBeNull()
  })
})
