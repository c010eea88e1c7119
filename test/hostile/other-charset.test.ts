import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Draft, field, send } from '../harness/doors.ts'
import { eachRefusedOnBoth, expectAnswerRefused } from '../harness/refusals.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { verifies } from '../requirements.ts'

const card = '4111111111111111'
const form = 'application/x-www-form-urlencoded'
const json = `{"pay":"${card}"}`
const utf16 = (text: string): Buffer => Buffer.from(text, 'utf16le')

interface Body {
  readonly body: string | Uint8Array
  /** Null for none. */
  readonly contentType: string | null
}

/** Encodings in which a receiver that guesses, or that ignores NUL, would read a card number. */
const malformed: Readonly<Record<string, Body>> = {
  'UTF-16 as text': { body: utf16(card), contentType: 'text/plain' },
  'UTF-16 with its mark as text': { body: utf16(`\ufeff${card}`), contentType: 'text/plain' },
  'UTF-16 as JSON': { body: utf16(json), contentType: 'application/json' },
  'UTF-16 without a type': { body: utf16(json), contentType: null },
  'big-endian UTF-16': { body: utf16(card).swap16(), contentType: 'text/csv' },
  'UTF-32': { body: Array.from(card).join('\0\0\0'), contentType: 'text/plain' },
  'NUL in text': { body: Array.from(card).join('\0'), contentType: 'text/plain' },
  'NUL in a form': { body: `card=${Array.from(card).join('\0')}`, contentType: form },
  'encoded NUL in a form': { body: `card=${Array.from(card).join('%00')}`, contentType: form },
  'encoded UTF-16 in a form': { body: 'card=%ff%fe4%001%00', contentType: form },
  'other control characters': { body: Array.from(card).join('\u0008'), contentType: 'text/plain' },
  'C1 characters': { body: Array.from(card).join('\u0084'), contentType: 'text/markdown' },
  'overlong UTF-8': { body: Buffer.from('c0b4c0b1c0b1c0b1', 'hex'), contentType: 'text/plain' },
  'a mark before JSON': { body: `\ufeff${json}`, contentType: 'application/json' },
}

const unsupported: Readonly<Record<string, Body>> = {
  'declared UTF-16': { body: utf16(card), contentType: 'text/plain; charset=utf-16' },
  'declared in capitals': { body: utf16(card), contentType: 'text/plain; CHARSET=UTF-16LE' },
  'declared in quotes': { body: utf16(card), contentType: 'text/plain; charset="utf-16"' },
  'declared twice': { body: utf16(card), contentType: 'text/plain; charset=utf-8; charset=utf-16' },
  'declared by another name': { body: card, contentType: "text/plain; charset*=utf-8''utf-16" },
  'declared inside another parameter': {
    body: card,
    contentType: 'text/plain; x=";charset=utf-16"',
  },
  'UTF-7': { body: '+ADQ-', contentType: 'text/plain; charset=utf-7' },
  'JSON in another charset': { body: json, contentType: 'application/json; charset=iso-8859-1' },
  'a form in another charset': { body: 'a=1', contentType: `${form}; charset=utf-16` },
  'a form that names another': { body: '_charset_=utf-16&a=1', contentType: form },
  'a page that declares another': { body: '<meta charset=utf-16>', contentType: 'text/html' },
  'XML that declares another': {
    body: '<?xml version="1.0" encoding="cp037"?>',
    contentType: 'text/xml',
  },
}

const draftOf = ({ body, contentType }: Body): Draft => ({
  to: 'masked',
  body,
  ...(contentType === null
    ? { edit: (lines) => lines.filter((line) => !line.startsWith('Content-Type')) }
    : { contentType }),
})

const asked = (bodies: Readonly<Record<string, Body>>) =>
  Object.fromEntries(Object.entries(bodies).map(([way, each]) => [way, draftOf(each)]))

const answered =
  (transport: 'gateway' | 'mesh', { body, contentType }: Body): Attempt =>
  (world) =>
    expectAnswerRefused(world, transport, {
      code: 'RESPONSE_REJECTED',
      attempt: () =>
        world.echo.during(
          (_, response) => {
            response.writeHead(200, contentType === null ? {} : { 'content-type': contentType })
            response.end(body)
          },
          () => send(world[transport], { to: 'masked' }),
        ),
    })

const answers = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(
    Object.entries({ ...malformed, ...unsupported }).map(([way, each]) => [
      `${way}, answered`,
      answered(transport, each),
    ]),
  )

/** A charset that is declared and inspected: the receiver gets UTF-8, declared as such. */
const decoded =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const body = Buffer.from(`für 4111\u00a01111\u00a01111\u00a01111`, 'latin1')
    const contentType = 'text/plain; charset=ISO-8859-1'
    const heard = await send(world[transport], { to: 'masked', body, contentType })
    const reached = world.echo.reached.at(-1)
    expect(reached?.body.toString()).toBe('für [CARD *1111]')
    expect(reached?.headers['content-type']).toBe('text/plain; charset=utf-8')
    expect(heard.body.toString()).toBe('für [CARD *1111]')
    const back = await world.echo.during(
      (_, response) => response.writeHead(200, { 'content-type': contentType }).end(body),
      () => send(world[transport], { to: 'masked' }),
    )
    expect(back.body.toString()).toBe('für [CARD *1111]')
    expect(field(back, 'content-type')).toBe('text/plain; charset=utf-8')
  }

const controls =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    for (const between of ['\\u0000', '\\b', '\\f', '\\u001b', '\\u0085', '%00', '\\\\u0000']) {
      const body = `{"pay":"${Array.from(card).join(between)}"}`
      await send(world[transport], { to: 'masked', body })
      expect(world.echo.reached.at(-1)?.body.toString()).toBe('{"pay":"[CARD *1111]"}')
      const heard = await send(world[transport], { to: 'blocked', body })
      expect(field(heard, 'countersign-refusal')).toBe('CONTENT_BLOCKED')
    }
  }

const events =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    for (const data of [
      Array.from(card).join('\0'),
      `{"a":"${Array.from(card).join('\\u0000')}"}`,
    ]) {
      const heard = await world.echo.during(streaming([`data: ${data}\n\n`]), async () => {
        const stream = await openStream(world[transport], { to: 'masked' })
        return stream.ended().finally(() => stream.close())
      })
      expect(heard).toMatch(/RESPONSE_REJECTED|\[CARD \*1111\]/)
      expect(heard.replaceAll('\0', '')).not.toContain(card)
    }
  }

const whole = { 'a declared charset is inspected': decoded, 'control characters in JSON': controls }
const onEach = (transport: 'gateway' | 'mesh') => ({
  ...Object.fromEntries(Object.entries(whole).map(([way, each]) => [way, each(transport)])),
  'control characters in events': events(transport),
  ...answers(transport),
})
const asMalformed = eachRefusedOnBoth('MESSAGE_MALFORMED', asked(malformed))
const asUnsupported = eachRefusedOnBoth('CONTENT_UNSUPPORTED', asked(unsupported))

attack(
  verifies(
    ['inspect:mask', 'inspect:block', 'inspect:charset'],
    'a body that its receiver would decode to another text than was inspected does not pass',
  ),
  {
    gateway: { ...asMalformed.gateway, ...asUnsupported.gateway, ...onEach('gateway') },
    mesh: { ...asMalformed.mesh, ...asUnsupported.mesh, ...onEach('mesh') },
    queue: 'the fabric cannot read sealed content',
  },
)
