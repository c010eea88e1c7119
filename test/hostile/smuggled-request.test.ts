import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Draft, sendAll } from '../harness/doors.ts'
import { expectRefused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

/** Bytes that a second parser would take for a separate request. */
const hidden = 'GET /hidden HTTP/1.1\r\nHost: hidden\r\n\r\n'
const chunk = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`

/** The honest lines without a length, with these instead. */
const framed =
  (...fields: string[]): NonNullable<Draft['edit']> =>
  (lines) => [...lines.filter((line) => !line.startsWith('Content-Length')), ...fields]

const chunked = framed('Transfer-Encoding: chunked')

const attacks: Readonly<Record<string, Draft>> = {
  'a length and chunks': {
    edit: framed('Content-Length: 4', 'Transfer-Encoding: chunked'),
    payload: [`0\r\n\r\n${hidden}`],
  },
  'chunks and a length': {
    edit: framed('Transfer-Encoding: chunked', 'Content-Length: 4'),
    payload: [chunk],
  },
  'two lengths': { edit: framed('Content-Length: 0', 'Content-Length: 40'), payload: [hidden] },
  'the same length twice': {
    edit: framed('Content-Length: 2', 'Content-Length: 2'),
    payload: ['{}'],
  },
  'a list of lengths': { edit: framed('Content-Length: 0, 40'), payload: [hidden] },
  'a signed length': { edit: framed('Content-Length: +2'), payload: ['{}'] },
  'a length in hex': { edit: framed('Content-Length: 0x2'), payload: ['{}'] },
  'an empty length': { edit: framed('Content-Length: '), payload: [hidden] },
  'an unknown coding': { edit: framed('Transfer-Encoding: xchunked'), payload: [chunk] },
  'chunked not last': { edit: framed('Transfer-Encoding: chunked, identity'), payload: [chunk] },
  'chunked twice': { edit: framed('Transfer-Encoding: chunked, chunked'), payload: [chunk] },
  'two coding fields': {
    edit: framed('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
    payload: [chunk],
  },
  'a coding under the chunks': {
    edit: framed('Transfer-Encoding: gzip, chunked'),
    payload: [chunk],
  },
  'a space before the colon': { edit: framed('Transfer-Encoding : chunked'), payload: [chunk] },
  'a tab in the coding': { edit: framed('Transfer-Encoding:\x0bchunked'), payload: [chunk] },
  'a folded line': { edit: framed('X-A: b', ' Transfer-Encoding: chunked'), payload: [hidden] },
  'a bare carriage return': { edit: framed('X-A: b\rTransfer-Encoding: chunked') },
  'a bare line feed': { edit: framed('X-A: b\nTransfer-Encoding: chunked') },
  'a NUL in a value': { edit: framed('X-A: b\0c') },
  'a chunk size in C': { edit: chunked, payload: ['0x2\r\n{}\r\n0\r\n\r\n'] },
  'a negative chunk size': { edit: chunked, payload: ['-1\r\n{}\r\n0\r\n\r\n'] },
  'a chunk size beyond any number': {
    edit: chunked,
    payload: [`${'f'.repeat(17)}\r\n{}\r\n0\r\n\r\n`],
  },
  'bytes after a chunk': { edit: chunked, payload: [`2\r\n{}${hidden}\r\n0\r\n\r\n`] },
  'chunk lines ended by line feeds': { edit: chunked, payload: [`2\n{}\n0\n\n${hidden}`] },
  'chunks in HTTP/1.0': {
    edit: (lines) => chunked(lines).map((line) => line.replace('HTTP/1.1', 'HTTP/1.0')),
    payload: [chunk],
  },
  'a version of its own': {
    edit: (lines) => lines.map((line) => line.replace('HTTP/1.1', 'HTTP/1.2')),
  },
  'no host': { edit: (lines) => lines.filter((line) => !line.startsWith('Host')) },
}

const smuggle =
  (transport: 'gateway' | 'mesh', draft: Draft): Attempt =>
  async (world) =>
    expectRefused(world, transport, {
      code: 'MESSAGE_MALFORMED',
      attempt: async () => {
        // A second answer would be the one to the hidden request.
        const [heard, ...others] = await sendAll(world[transport], draft, 2)
        expect(others).toEqual([])
        if (heard === undefined) throw new Error('the peer hung up without an answer')
        return heard
      },
    })

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(
    Object.entries(attacks).map(([way, draft]) => [way, smuggle(transport, draft)]),
  )

attack(verifies(['deliver:rebuilt'], 'a request inside a request is refused'), {
  gateway: onEach('gateway'),
  mesh: onEach('mesh'),
  queue: 'members come in by the gateway, and sealed messages have their own length',
})
