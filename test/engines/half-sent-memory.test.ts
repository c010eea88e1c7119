import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type ClientHttp2Session, connect } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openIdentity } from '@countersign/sdk'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run } from '../../packages/fabric/src/cli/run.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { Lab } from '../faults/lab.ts'
import type { ServerProcess } from '../faults/server-process.ts'
import { sendHalf, type Unfinished } from '../harness/half-sent.ts'
import { pemOf, talk } from '../harness/raw-http.ts'
import { forge } from '../hostile/tls-forge.ts'
import { verifies } from '../requirements.ts'

const mebibyte = 1024 * 1024
const body = Buffer.alloc(4 * mebibyte - 1, 0x20)

let lab: Lab
let port = 0
let fabric: ServerProcess
let connector: ServerProcess
let places: Readonly<Record<string, unknown>>
let key = ''

beforeAll(async () => {
  const dir = mkdtempSync(join(tmpdir(), 'countersign-memory-'))
  lab = new Lab({ dir, library: '' }, dir)
  fabric = lab.start()
  port = Number(new URL(String((await fabric.ready())['origin'])).port)
  // Enrols its agent, which nothing listens for.
  connector = lab.connect({ words: ['--expose', 'http://127.0.0.1:9'] })
  places = await connector.ready()
  const stdout = {
    write: (text: string) => {
      key += text.trim()
    },
  }
  const stderr = { write: () => undefined }
  const words = ['--data', lab.data, '--config', lab.path('countersign.yaml')]
  expect(await run(['key', 'create', 'caller', ...words], { stdout, stderr })).toBe(0)
}, 120_000)

afterAll(() => {
  lab.close()
  rmSync(lab.dir, { recursive: true, force: true })
})

/** The most memory that the process ever had in use. */
function peakBytes({ pid }: ServerProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

async function callWithKey(): Promise<number | undefined> {
  const lines = ['GET /v1/mesh/state HTTP/1.1', `Host: localhost:${port}`, `X-Api-Key: ${key}`]
  return (await talk({ port }, [`${lines.join('\r\n')}\r\n\r\n`]))[0]?.status
}

/** Streams of one HTTP/2 connection, each with a body that is not whole. */
async function streamsOf(session: ClientHttp2Session, count: number): Promise<unknown[]> {
  const answered = Array.from({ length: count }, () => {
    const stream = session.request({ ':method': 'POST', ':path': '/agents/caller/' })
    stream.write(body.subarray(0, 48 * 1024))
    return new Promise<unknown>((resolve) => {
      stream.on('error', resolve)
      stream.once('response', (fields) => resolve(fields['countersign-refusal']))
    })
  })
  return await Promise.all(answered)
}

test(
  verifies(
    ['operate:memory-share'],
    'self-signed certificates and half-sent bodies occupy next to nothing',
  ),
  async () => {
    expect(await callWithKey()).toBe(200)
    const before = peakBytes(fabric)
    const tls = { rejectUnauthorized: false, ...pemOf(forge()) }
    const sessions = [0, 1].map(() => connect(`https://127.0.0.1:${port}`, tls))
    for (const session of sessions) session.on('error', () => undefined)
    try {
      const answers = await Promise.all(sessions.map((session) => streamsOf(session, 90)))
      expect(new Set(answers.flat())).toEqual(new Set(['CREDENTIAL_REJECTED']))
    } finally {
      for (const session of sessions) session.destroy()
    }
    expect((peakBytes(fabric) - before) / mebibyte).toBeLessThan(96)
  },
)

test(
  verifies(
    ['operate:memory-share', 'authenticate:before-body'],
    '256 MiB of an unauthenticated client cost the client of an API key nothing',
  ),
  async () => {
    expect(await callWithKey()).toBe(200)
    const before = peakBytes(fabric)
    const place = { port, path: '/agents/caller/', authority: `localhost:${port}` }
    const half = { length: body.length + 1, sent: body }
    const unfinished: Unfinished[] = []
    try {
      for (let i = 0; i < 64; i++) {
        unfinished.push(await sendHalf(place, half))
        if (i % 8 === 0) expect(await callWithKey()).toBe(200)
      }
      expect(await callWithKey()).toBe(200)
    } finally {
      for (const each of unfinished) each.close()
    }
    expect((peakBytes(fabric) - before) / mebibyte).toBeLessThan(96)
  },
)

/**
 * 500 MiB in all. At each side 64 MiB are allowed, half of it for one identity; a body occupies at
 * most twice what was sent, and what was discarded stays until it is collected.
 */
test(
  verifies(['operate:memory-share'], '250 half-sent bodies at each side of a connector'),
  async () => {
    const { loopbackUrl, meshUrl } = places
    const dir = join(lab.data, 'agents', 'caller')
    const onFault = (): void => undefined
    const identity = await openIdentity({
      dir,
      name: 'caller',
      join: undefined,
      clock: systemClock,
      onFault,
    })
    const sides = [
      { url: new URL(String(loopbackUrl)), credential: null },
      { url: new URL(String(meshUrl)), credential: identity.credential() },
    ]
    const before = peakBytes(connector)
    const unfinished: Unfinished[] = []
    try {
      for (const { url, credential } of sides) {
        const at = { port: Number(url.port), path: '/agents/caller/', authority: url.host }
        const half = { length: body.length, sent: body.subarray(0, mebibyte), credential }
        for (let i = 0; i < 250; i++) unfinished.push(await sendHalf(at, half))
      }
      expect((peakBytes(connector) - before) / mebibyte).toBeLessThan(2 * 2 * 32 + 224)
    } finally {
      identity.close()
      for (const each of unfinished) each.close()
    }
  },
)
