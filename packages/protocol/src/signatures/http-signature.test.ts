import { createPrivateKey, createPublicKey, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import vectors from '../../vectors/http-signatures.json' with { type: 'json' }
import { parseBase64, utf8 } from '../encoding/bytes.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import { formatContentDigest } from './content-digest.ts'
import {
  createSignatureInput,
  draftSignature,
  formatSignedRequestHeaders,
  formatSignedResponseHeaders,
  parseSignatures,
  readSignedRequest,
  readSignedResponse,
} from './http-signature.ts'
import {
  createSignatureBase,
  type HeaderList,
  inputOfBase,
  parseSignatureBase,
  type SignableRequest,
} from './http-signature-base.ts'
import { formatMember, parseDictionary } from './http-signature-fields.ts'
import {
  prepareRequestSignature,
  prepareResponseSignature,
  requestProfileFault,
  responseProfileFault,
} from './http-signature-profile.ts'
import { verifyEd25519 } from './web-crypto.ts'

const vectorRequest: SignableRequest = {
  ...vectors.request,
  headers: vectors.request.headers.map(([name = '', value = '']) => [name, value] as const),
}

const pkcs8 = Buffer.from(`302e020100300506032b657004220420${'07'.repeat(32)}`, 'hex')
const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
const publicKey = new Uint8Array(spki.subarray(-32))
const signText = (text: string) => new Uint8Array(sign(null, utf8(text), privateKey))

const digest = formatContentDigest(new Uint8Array(32).fill(9))
const bare: SignableRequest = {
  method: 'POST',
  path: '/tasks?limit=3',
  authority: 'Fabric.Test:443',
  headers: [
    ['content-type', 'application/json'],
    ['content-digest', digest],
    ['countersign-to', 'invoice-agent'],
  ],
}
const draft = { created: 1_760_000_000, keyId: 'agent-key-1', nonce: 'n-1' }

function signedRequest(): SignableRequest {
  const { input, base } = prepareRequestSignature(bare, draft)
  const fields = formatSignedRequestHeaders('countersign', input, signText(base))
  return { ...bare, headers: [...bare.headers, ...fields] }
}

/** The request of `signedRequest`, with the two signature fields replaced. */
function withFields(input: string, signature: string): SignableRequest {
  const fields: HeaderList = [
    ['signature-input', input],
    ['signature', signature],
  ]
  return { ...bare, headers: [...bare.headers, ...fields] }
}

const anySignature = `:${Buffer.alloc(64, 1).toString('base64')}:`

describe('the vector of RFC 9421, B.2.6', () => {
  test('has the base that the RFC prints, and its signature verifies', async () => {
    const signed = readSignedRequest(vectorRequest)
    expect(signed?.base).toBe(vectors.base.join('\n'))
    expect(signed).toMatchObject({ label: 'sig-b26', keyId: vectors.key.keyId, nonce: null })
    const key = parseBase64(vectors.key.publicKey) ?? new Uint8Array(0)
    const { signature, base } = signed ?? { signature: key, base: '' }
    expect(await verifyEd25519(key, signature, utf8(base))).toBe(true)
    expect(await verifyEd25519(key, signature, utf8(`${base} `))).toBe(false)
  })
})

describe('our profile', () => {
  test('covers all that makes a request, and reads back what was signed', async () => {
    const request = signedRequest()
    const signed = readSignedRequest(request)
    expect(signed).toMatchObject({
      label: 'countersign',
      keyId: 'agent-key-1',
      created: draft.created,
      expires: null,
      nonce: 'n-1',
      tag: 'countersign',
    })
    expect(signed?.base.split('\n')).toEqual([
      '"@method": POST',
      '"@path": /tasks',
      '"@query": ?limit=3',
      `"content-digest": ${digest}`,
      '"content-type": application/json',
      '"countersign-to": invoice-agent',
      '"@signature-params": ("@method" "@path" "@query" "content-digest" "content-type" ' +
        '"countersign-to");created=1760000000;keyid="agent-key-1";nonce="n-1";alg="ed25519"' +
        ';tag="countersign"',
    ])
    const { signature, base } = signed ?? { signature: publicKey, base: '' }
    expect(await verifyEd25519(publicKey, signature, utf8(base))).toBe(true)
    expect(signed && requestProfileFault(signed, request)).toBeNull()
  })

  test('makes a response cover the signature of its request', async () => {
    const request = signedRequest()
    const answer = { status: 200, headers: bare.headers.slice(0, 2) }
    const prepared = prepareResponseSignature({ response: answer, request }, draft)
    const fields = formatSignedResponseHeaders(
      'countersign',
      prepared.input,
      signText(prepared.base),
    )
    const response = { ...answer, headers: [...answer.headers, ...fields] }
    const signed = readSignedResponse(response, request)
    expect(signed?.base).toBe(prepared.base)
    const asked = { label: 'caller', isWhole: true }
    expect(signed && responseProfileFault(signed, asked)).toBeNull()
    const line = parseSignatureBase(prepared.base).values.get('"signature";req')
    expect(line).toBe(request.headers.find(([name]) => name === 'signature')?.[1])
    const other = { ...request, headers: withFields('a=()', `a=${anySignature}`).headers }
    expect(readSignedResponse(response, other)?.base).not.toBe(prepared.base)
    expect(() => readSignedResponse(response, null)).toThrow(MalformedError)
  })

  test.each<[string, readonly string[], boolean, string | null]>([
    ['all of it', ['"@status"', '"content-digest"', '"signature";req'], true, null],
    ['the label', ['"@status"', '"content-digest"', '"signature";req;key="caller"'], true, null],
    ['a stream', ['"@status"', '"signature";req'], false, null],
    ['no status', ['"content-digest"', '"signature";req'], true, 'status'],
    ['no digest', ['"@status"', '"signature";req'], true, 'digest'],
    ['no request', ['"@status"', '"content-digest"'], true, 'signature'],
    [
      'another label',
      ['"@status"', '"content-digest"', '"signature";req;key="fabric"'],
      true,
      'signature',
    ],
    ['its own signature', ['"@status"', '"content-digest"', '"signature"'], true, 'signature'],
    [
      'a label like it',
      ['"@status"', '"content-digest"', '"signature";req;key="caller2"'],
      true,
      'signature',
    ],
    [
      'another parameter',
      ['"@status"', '"content-digest"', '"signature";req;sf'],
      true,
      'signature',
    ],
  ])('covers enough of a response, or not: %s', (_, components, isWhole, fault) => {
    const found = responseProfileFault({ components }, { label: 'caller', isWhole })
    if (fault === null) expect(found).toBeNull()
    else expect(found).toMatch(fault)
  })

  test('can select the signature of the request by its label', () => {
    const request = signedRequest()
    const input =
      '("@status" "content-digest" "signature";req;key="countersign");created=1;keyid="k"'
    const answer = { response: { status: 200, headers: bare.headers }, request }
    const { values } = parseSignatureBase(createSignatureBase(input, answer))
    const whole = request.headers.find(([name]) => name === 'signature')?.[1]
    expect(`countersign=${values.get('"signature";req;key="countersign"')}`).toBe(whole)
    const absent = input.replace('key="countersign"', 'key="other"')
    expect(() => createSignatureBase(absent, answer)).toThrow(MalformedError)
  })

  test.each([
    ['the method', ['"@path"', '"@query"', '"content-digest"', '"countersign-to"']],
    ['the path', ['"@method"', '"@query"', '"content-digest"', '"countersign-to"']],
    ['the query', ['"@method"', '"@path"', '"content-digest"', '"countersign-to"']],
    ['the digest', ['"@method"', '"@path"', '"@query"', '"countersign-to"']],
    ['countersign-to', ['"@method"', '"@path"', '"@query"', '"content-digest"', '"@authority"']],
  ])('finds a signature insufficient that leaves out %s', (what, components) => {
    const input = createSignatureInput({ ...draft, components, tag: 'countersign' })
    const fields = formatSignedRequestHeaders('a', input, signText('x'))
    const request = { ...bare, headers: [...bare.headers, ...fields] }
    const signed = readSignedRequest(request)
    expect(signed && requestProfileFault(signed, request)).toContain(what)
  })

  test('takes the target URI for path, query and receiver, and content by its word', () => {
    const headers: HeaderList = []
    const input = createSignatureInput({ ...draft, components: ['"@method"', '"@target-uri"'] })
    const fields = formatSignedRequestHeaders('a', input, signText('x'))
    const request = { ...bare, headers: [...headers, ...fields] }
    const signed = readSignedRequest(request)
    expect(signed?.base).toContain('"@target-uri": https://fabric.test/tasks?limit=3')
    expect(signed && requestProfileFault(signed, request)).toBeNull()
    const full = { ...request, hasBody: true }
    expect(signed && requestProfileFault(signed, full)).toContain('digest')
  })
})

describe('the signature of a stream', () => {
  const head = ['"@method"', '"@target-uri"'] as const
  const stated = ['countersign-body', 'streamed'] as const
  const faultOf = (
    components: readonly string[],
    { field = stated, isStreamed = true }: { field?: typeof stated | null; isStreamed?: boolean },
  ) => {
    const own = field === null ? [] : [[...field] as [string, string]]
    const headers: HeaderList = [...bare.headers, ...own]
    const input = createSignatureInput({ ...draft, components })
    const fields = formatSignedRequestHeaders('a', input, signText('x'))
    const request = { ...bare, headers: [...headers, ...fields], hasBody: isStreamed, isStreamed }
    const signed = readSignedRequest(request)
    return signed && requestProfileFault(signed, request)
  }
  const streamed = [...head, '"countersign-body"', '"countersign-to"']

  test('covers the statement that it is one, and no digest', () => {
    expect(faultOf(streamed, {})).toBeNull()
    expect(faultOf([...streamed, '"content-digest"'], {})).toContain('digest of a stream')
    expect(faultOf([...head, '"countersign-to"'], {})).toContain('countersign-body: streamed')
  })

  test('is not one of a request without content, which an attacker could make of it', () => {
    expect(faultOf(streamed, { isStreamed: false })).toContain('is not one')
  })
})

describe('reading signatures', () => {
  test('gives null when there is none, or none for us', () => {
    expect(readSignedRequest(bare)).toBeNull()
    const foreign = withFields('a=();created=1;keyid="k";tag="web-bot-auth"', `a=${anySignature}`)
    expect(parseSignatures(foreign.headers)).toHaveLength(1)
    expect(readSignedRequest(foreign)).toBeNull()
  })

  test('prefers ours to one without a tag, and refuses to choose between equals', () => {
    const params = ';created=1;keyid="k"'
    const both = `a=("@path")${params}, b=("@method")${params};tag="countersign"`
    const pair = `a=${anySignature}, b=${anySignature}`
    expect(readSignedRequest(withFields(both, pair))?.label).toBe('b')
    const twice = `a=()${params};tag="countersign", b=()${params};tag="countersign"`
    expect(() => readSignedRequest(withFields(twice, pair))).toThrow(MalformedError)
    expect(() => readSignedRequest(withFields(`a=()${params}, b=()${params}`, pair))).toThrow(
      MalformedError,
    )
  })

  const rest = ';created=1;keyid="k"'
  const ok = `a=${anySignature}`
  test.each([
    ['one field of the two', 'a=()', ''],
    ['labels that differ', `a=()${rest}`, `b=${anySignature}`],
    ['a signature more', `a=()${rest}`, `a=${anySignature}, b=${anySignature}`],
    ['a repeated label', `a=()${rest}, a=()${rest}`, ok],
    ['a repeated signature', `a=()${rest}`, `${ok}, ${ok}`],
    ['a repeated component', `a=("@method" "@method")${rest}`, ok],
    ['a repeated parameter', 'a=();created=1;created=2;keyid="k"', ok],
    ['no creation time', 'a=();keyid="k"', ok],
    ['a creation time in the past of time', 'a=();created=-1;keyid="k"', ok],
    ['a fractional creation time', 'a=();created=1.5;keyid="k"', ok],
    ['a textual creation time', 'a=();created="1";keyid="k"', ok],
    ['no key', 'a=();created=1', ok],
    ['an empty key', 'a=();created=1;keyid=""', ok],
    ['another algorithm', `a=()${rest};alg="hmac-sha256"`, ok],
    ['an unknown parameter', `a=()${rest};extra=1`, ok],
    ['an unknown derived component', `a=("@query-param";name="x")${rest}`, ok],
    ['the parameters as component', `a=("@signature-params")${rest}`, ok],
    ['the status of a request', `a=("@status")${rest}`, ok],
    ['a component of its request', `a=("@method";req)${rest}`, ok],
    ['an upper-case field name', `a=("Content-Type")${rest}`, ok],
    ['an unsupported serialization', `a=("content-type";sf)${rest}`, ok],
    ['a false request flag', `a=("content-type";req=?0)${rest}`, ok],
    ['an absent field', `a=("x-absent")${rest}`, ok],
    ['a component that is a number', `a=(1)${rest}`, ok],
    ['components without a space between', `a=("@method""@path")${rest}`, ok],
    ['a tab between components', `a=("@method"\t"@path")${rest}`, ok],
    ['an unclosed list', `a=("@method"${rest}`, ok],
    ['a trailing comma', `a=()${rest},`, ok],
    ['no list at all', 'a=1', ok],
    ['a signature that is text', `a=()${rest}`, 'a="AAAA"'],
    ['a signature of 63 bytes', `a=()${rest}`, `a=:${Buffer.alloc(63).toString('base64')}:`],
    ['a signature without padding', `a=()${rest}`, ok.replace('==', '')],
    ['a signature with unused bits', `a=()${rest}`, ok.replace(/Q==:$/, 'R==:')],
    ['a signature with parameters', `a=()${rest}`, `${ok};x=1`],
    ['a line break', `a=()${rest}\n`, ok],
    ['text beyond ASCII', 'a=();created=1;keyid="ключ"', ok],
    ['forty components', `a=(${many(40)})${rest}`, ok],
    ['a field of 16 KiB', `a=(${many(4000)})${rest}`, ok],
    ['nine signatures', list((l) => `${l}=()${rest}`), list((l) => `${l}=${anySignature}`)],
  ])('refuses %s', (_, input, signature) => {
    const request = withFields(input, signature)
    const headers = request.headers.filter(([, value]) => value !== '')
    expect(() => readSignedRequest({ ...request, headers })).toThrow(MalformedError)
  })

  test('refuses to build a base out of a field with a line break in it', () => {
    const headers: HeaderList = [['x-evil', 'a\n"@method": GET']]
    const input = '("x-evil");created=1;keyid="k"'
    expect(() => createSignatureBase(input, { ...bare, headers })).toThrow(MalformedError)
    const path = { ...bare, path: '/a\n"@method": GET' }
    expect(() => createSignatureBase('("@path");created=1;keyid="k"', path)).toThrow(MalformedError)
  })

  test('joins repeated fields in order and trims them', () => {
    const headers: HeaderList = [
      ['x-list', ' one '],
      ['other', 'x'],
      ['X-List', '\ttwo'],
    ]
    const base = createSignatureBase('("x-list");created=1;keyid="k"', { ...bare, headers })
    expect(base.split('\n')[0]).toBe('"x-list": one, two')
  })
})

function many(count: number): string {
  return Array.from({ length: count }, (_, i) => `"x-${i}"`).join(' ')
}

function list(member: (label: string) => string): string {
  return Array.from('abcdefghi', member).join(', ')
}

describe('a signature base', () => {
  test('parses to the values that went into it', () => {
    const value = fc.stringMatching(/^[!-~]([ -~]{0,40}[!-~])?$/)
    const names = fc.uniqueArray(fc.stringMatching(/^x-[a-z]{1,8}$/), {
      minLength: 1,
      maxLength: 8,
    })
    fc.assert(
      fc.property(names, fc.array(value, { minLength: 8, maxLength: 8 }), (fields, values) => {
        const headers = fields.map((name, i) => [name, values[i] ?? ''] as const)
        const components = fields.map((name) => `"${name}"`)
        const input = createSignatureInput({ ...draft, components })
        const base = createSignatureBase(input, { ...bare, headers })
        expect(draftSignature({ ...draft, components }, { ...bare, headers })).toEqual({
          input,
          base,
        })
        expect(inputOfBase(base)).toBe(input)
        const parsed = parseSignatureBase(base)
        expect([...parsed.values]).toEqual(headers.map(([name, given]) => [`"${name}"`, given]))
        expect(parsed.params).toEqual({
          created: draft.created,
          expires: null,
          keyId: draft.keyId,
          nonce: draft.nonce,
          tag: null,
          alg: 'ed25519',
        })
      }),
    )
  })

  test('of nothing but parameters ends with its input, too', () => {
    const input = createSignatureInput({ ...draft, components: [] })
    expect(inputOfBase(createSignatureBase(input, bare))).toBe(input)
  })

  test('is drafted only of components that are supported and named in their one form', () => {
    const headers: HeaderList = [['x-a', ' \tone\t ']]
    const drafted = (...components: string[]) =>
      draftSignature({ ...draft, components }, { ...bare, headers }).base
    expect(drafted('"@method"', '"x-a"').split('\n')[1]).toBe('"x-a": one')
    const bad = [['"x-a"', '"x-a"'], ['"@nothing"'], ['"x-b"'], ['"x-a" ']]
    const worse = [['"x-a");created=1;keyid="k"'], ['"x-a";key="m'], ['("x-a")'], ['x-a']]
    for (const components of [...bad, ...worse]) {
      expect(() => drafted(...components), components.join()).toThrow(MalformedError)
    }
  })

  test('is refused when lines and parameters disagree', () => {
    const good = createSignatureBase('("@method" "@path");created=1;keyid="k"', bare)
    const [method = '', path = '', params = ''] = good.split('\n')
    const bad = [
      '',
      method,
      `${path}\n${method}\n${params}`,
      `${method}\n${params}`,
      `${method}\n${method}\n${path}\n${params}`,
      `${good}\n`,
      `${params}\n${method}\n${path}`,
      good.replace(': POST', ':POST'),
      good.replace('POST', 'PO\rST'),
      good.replace('("@method" ', '("@method"  '),
      good.replace('created=1', 'created=01'),
    ]
    for (const base of bad) expect(() => parseSignatureBase(base), base).toThrow(MalformedError)
  })
})

describe('structured fields', () => {
  test('come back in one form', () => {
    const text = 'a=("x";req "y");n=-5;t="q\\"\\\\";b=:AQI=:;f=?0,b=1;z,  c;q'
    const members = [...parseDictionary(text)].map(
      ([key, member]) => `${key}=${formatMember(member)}`,
    )
    expect(members).toEqual(['a=("x";req "y");n=-5;t="q\\"\\\\";b=:AQI=:;f=?0', 'b=1;z', 'c=?1;q'])
  })
})
