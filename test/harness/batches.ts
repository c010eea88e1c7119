import { type KeyObject, sign } from 'node:crypto'
import { batchAlgorithm, signMessageBatch } from '@countersign/protocol'
import { sha256, signatureOver } from './signed.ts'

/** The value of the base in an honest batch of the key: one of three messages. */
export function inBatch(base: string, key: KeyObject): Uint8Array {
  return placed([`${base} before`, base, `${base} behind`], 1, key)
}

/** The value of another message of the same batch. */
const ofAnother = (base: string, key: KeyObject) => placed([base, `${base} behind`], 1, key)

function placed(bases: readonly string[], at: number, key: KeyObject): Uint8Array {
  const signBytes = (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, key))
  const value = signMessageBatch(bases, { hash: sha256, sign: signBytes })[at]
  if (value === undefined) throw new Error('the batch has no such message')
  return value
}

const edited =
  (edit: (value: Uint8Array) => Uint8Array) =>
  (base: string, key: KeyObject): Uint8Array =>
    edit(inBatch(base, key))

const withByte = (at: number, byte: number) =>
  edited((value) => value.map((each, place) => (place === at ? byte : each)))

/** Signatures of other messages, of another algorithm, and values of another form. */
export const borrowedValues = {
  'the value of another message': { alg: batchAlgorithm, make: ofAnother },
  'a batch of another message': {
    alg: batchAlgorithm,
    make: (base: string, key: KeyObject) => inBatch(`${base} other`, key),
  },
  'another place': { alg: batchAlgorithm, make: withByte(65, 0) },
  'another size': { alg: batchAlgorithm, make: withByte(64, 4) },
  'a size of one': { alg: batchAlgorithm, make: withByte(64, 1) },
  'a path that ends early': { alg: batchAlgorithm, make: edited((value) => value.slice(0, -32)) },
  'a path that goes on': {
    alg: batchAlgorithm,
    make: edited((value) => Uint8Array.from([...value, ...new Uint8Array(32)])),
  },
  'a path of half a hash': { alg: batchAlgorithm, make: edited((value) => value.slice(0, -16)) },
  'an ordinary signature': { alg: batchAlgorithm, make: signatureOver },
  'a batch under the ordinary algorithm': { make: inBatch },
  'the root alone, under the ordinary algorithm': {
    make: edited((value) => value.slice(0, 64)),
  },
} as const
