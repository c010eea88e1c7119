import { hash } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import { utf8 } from '@countersign/protocol'
import type { CertificateTerms, CertificateWriter } from '../../identity/certificate-writer.ts'
import {
  der,
  derBitString,
  derObjectId,
  derOctets,
  derSequence,
  derTimeOf,
  derUnsigned,
  derUtf8,
} from './der-writer.ts'

/**
 * Certificates without a library: the one shape that this fabric issues is a few fields around a
 * key. Loads nothing, and writes several times more certificates a second.
 */
export function derCertificateWriter(): CertificateWriter {
  return {
    write: async (terms) => {
      const body = bodyOf(terms)
      const signature = await terms.sign(body)
      if (signature.length !== 64) throw new TypeError('a P-256 signature has 64 bytes')
      // RFC 3279, section 2.2.3.
      const [r, s] = [signature.subarray(0, 32), signature.subarray(32)]
      const value = derSequence(derUnsigned(r), derUnsigned(s))
      return derSequence(body, ecdsaWithSha256, derBitString(value))
    },
  }
}

const ecdsaWithSha256 = derSequence(derObjectId('1.2.840.10045.4.3.2'))
const version3 = der(0xa0, derUnsigned(Uint8Array.of(2)))

function bodyOf(terms: CertificateTerms): Uint8Array {
  const subject = nameOf(terms.subjectName)
  return derSequence(
    version3,
    derUnsigned(Buffer.from(terms.serialNumber, 'hex')),
    ecdsaWithSha256,
    terms.issuer ?? subject,
    derSequence(derTimeOf(terms.notBefore), derTimeOf(terms.notAfter)),
    subject,
    terms.publicKey,
    der(0xa3, derSequence(...extensionsOf(terms))),
  )
}

const organizationName = derObjectId('2.5.4.10')
const commonName = derObjectId('2.5.4.3')

function nameOf(text: string): Uint8Array {
  const part = (id: Uint8Array, value: string) => der(0x31, derSequence(id, derUtf8(value)))
  return derSequence(part(organizationName, 'Countersign'), part(commonName, text))
}

const yes = der(0x01, Uint8Array.of(0xff))

function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? [yes] : []
  return derSequence(derObjectId(id), ...flag, derOctets(value))
}

const digitalSignature = derBitString(Uint8Array.of(0x80), 7)
const certificateAndCrlSign = derBitString(Uint8Array.of(0x06), 1)
const bothPurposes = derSequence(derObjectId('1.3.6.1.5.5.7.3.1'), derObjectId('1.3.6.1.5.5.7.3.2'))

function extensionsOf(terms: CertificateTerms): readonly Uint8Array[] {
  const { authority } = terms
  const constraints =
    authority === null
      ? derSequence()
      : derSequence(yes, derUnsigned(Uint8Array.of(authority.pathLengthMax)))
  const usage = authority === null ? digitalSignature : certificateAndCrlSign
  const names = [
    ...terms.uris.map((uri) => der(0x86, utf8(uri))),
    ...terms.dnsNames.map((name) => der(0x82, utf8(name))),
    ...terms.ipAddresses.map((address) => der(0x87, addressBytes(address))),
  ]
  return [
    extension('2.5.29.19', true, constraints),
    extension('2.5.29.15', true, usage),
    ...(authority === null ? [extension('2.5.29.37', false, bothPurposes)] : []),
    extension('2.5.29.14', false, derOctets(keyIdentifier(terms.publicKey))),
    extension('2.5.29.35', false, derSequence(der(0x80, keyIdentifier(terms.issuerPublicKey)))),
    extension('2.5.29.17', false, derSequence(...names)),
  ]
}

/** RFC 7093, section 2: 160 bits of SHA-256 over the key information. */
function keyIdentifier(publicKey: Uint8Array): Uint8Array {
  return hash('sha256', publicKey, 'buffer').subarray(0, 20)
}

/** RFC 5280, section 4.2.1.6: four or sixteen bytes. Throws for text that is not an address. */
function addressBytes(address: string): Uint8Array {
  if (isIPv4(address)) return Uint8Array.from(address.split('.').map(Number))
  if (!isIPv6(address)) throw new TypeError('not an IP address')
  // The URL parser writes the one canonical form, which has no dotted tail.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [head = '', tail] = canonical.split('::')
  const groupsOf = (text: string): string[] => text.split(':').filter((each) => each !== '')
  const front = groupsOf(head)
  const back = groupsOf(tail ?? '')
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => '0')
  const groups = [...front, ...zeros, ...back].map((each) => Number.parseInt(each, 16))
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]))
}
