import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { a2aOperations, mcpMethods } from '@countersign/protocol'
import { chromium } from 'playwright-core'

export const kinds = ['json', 'call', 'form', 'path', 'media', 'text', 'head', 'events'] as const
export type Kind = (typeof kinds)[number]

/** One message to read. `type` is the Content-Type where the kind has a body. */
export interface Case {
  readonly kind: Kind
  readonly type: string
  readonly body: Uint8Array
}

/** A reader that is not ours. Null is a message that it rejects, or in which it finds no call. */
export interface Oracle {
  readonly name: string
  read(cases: readonly Case[]): Promise<readonly (string | null)[]>
  close(): Promise<void>
}

/** The names that a reader has to find as the method of a call. */
export const operationNames: readonly string[] = [
  ...a2aOperations.keys(),
  ...mcpMethods,
  'notifications/initialized',
]

const here = import.meta.dirname
const env = { ...process.env, FUZZ_OPERATIONS: JSON.stringify(operationNames) }

export function hasCommand(command: string, argument: string): boolean {
  return spawnSync(command, [argument]).status === 0
}

export function openPython(): Oracle {
  return byLines('Python', spawn('python3', [join(here, 'read.py')], { env, stdio: 'pipe' }))
}

/** Builds the reader into `dir` first. */
export function openGo(dir: string): Oracle {
  const binary = join(dir, 'read-go')
  const built = spawnSync('go', ['build', '-o', binary, join(here, 'read.go')], {
    encoding: 'utf8',
    env: { ...process.env, GOFLAGS: '-mod=mod', GO111MODULE: 'off', GOTOOLCHAIN: 'local' },
  })
  if (built.status !== 0) throw new Error(`go build: ${built.stderr}`)
  return byLines('Go', spawn(binary, { env, stdio: 'pipe' }))
}

function byLines(name: string, child: ChildProcess): Oracle {
  const { stdin, stdout, stderr } = child
  if (stdin === null || stdout === null || stderr === null) throw new Error(`${name} has no pipes`)
  let complaint = ''
  stderr.on('data', (bytes: Buffer) => {
    complaint += bytes.toString()
  })
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  return {
    name,
    async read(cases) {
      const asked = cases.map(({ kind, type, body }) =>
        JSON.stringify({ kind, type, body: Buffer.from(body).toString('base64') }),
      )
      if (cases.length === 0) return []
      stdin.write(`${asked.join('\n')}\n`)
      const readings: (string | null)[] = []
      for (const _ of cases) {
        const line = await lines.next()
        if (line.done === true) throw new Error(`${name} ended: ${complaint}`)
        readings.push((JSON.parse(line.value) as { reading: string | null }).reading)
      }
      return readings
    },
    close() {
      stdin.end()
      return new Promise((resolve) => {
        if (child.exitCode !== null) resolve()
        else child.once('exit', () => resolve())
      })
    },
  }
}

export const chromiumPath = '/usr/bin/chromium'

export async function openBrowser(): Promise<Oracle> {
  const browser = await chromium.launch({
    executablePath: chromiumPath,
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
  })
  const page = await browser.newPage()
  return {
    name: 'Chromium',
    async read(cases) {
      const asked = cases.map(({ kind, type, body }) => ({ kind, type, body: Array.from(body) }))
      return page.evaluate(readInPage, { asked, operations: operationNames })
    },
    close: () => browser.close(),
  }
}

interface Asked {
  readonly asked: readonly { kind: string; type: string; body: readonly number[] }[]
  readonly operations: readonly string[]
}

/** Runs in the page, so it may use nothing from outside of itself. */
function readInPage({ asked, operations }: Asked): Promise<(string | null)[]> {
  const hex = (text: string): string =>
    Array.from(new TextEncoder().encode(text), (byte) => byte.toString(16).padStart(2, '0')).join(
      '',
    )
  const encode = (value: unknown): string => {
    if (value === null) return 'n'
    if (typeof value === 'boolean') return value ? 't' : 'f'
    if (typeof value === 'string') return `s${hex(value)}`
    if (typeof value === 'number') {
      const view = new DataView(new ArrayBuffer(8))
      // Zero has one sign here: a language with integers has no other.
      view.setFloat64(0, value + 0)
      return `d${view.getBigUint64(0).toString(16).padStart(16, '0')}`
    }
    if (Array.isArray(value)) return `[${value.map(encode).join(',')}]`
    const members = Object.entries(value as object).map(([n, one]) => `${encode(n)}:${encode(one)}`)
    return `{${members.sort().join(',')}}`
  }
  const callOf = (value: unknown): string | null => {
    if (Array.isArray(value)) return value.map(callOf).find((one) => one !== null) ?? null
    if (typeof value !== 'object' || value === null) return null
    const { method, params } = value as { method?: unknown; params?: Record<string, unknown> }
    if (typeof method !== 'string' || !operations.includes(method)) return null
    const named = params?.['name'] ?? params?.['uri'] ?? ''
    return `${method}|${typeof named === 'string' ? named : JSON.stringify(named)}`
  }
  const attempt = (text: string): string | null => {
    try {
      return callOf(JSON.parse(text))
    } catch {
      return null
    }
  }
  // Scripts read what is nearly JSON by evaluating it, and what is in a page without its entities.
  const evaluate = Reflect.get(globalThis, 'eval') as (text: string) => unknown
  const evaluated = (text: string): string | null => {
    try {
      // A literal, and not a program: one that assigns to names of its own is none.
      return callOf(evaluate(`'use strict';(${text})`))
    } catch {
      return null
    }
  }
  const unmarked = (text: string): string =>
    new DOMParser().parseFromString(text.replaceAll('<', '&lt;'), 'text/html').body.textContent ??
    ''
  const readCall = (bytes: Uint8Array): string | null => {
    for (const charset of ['utf-8', 'utf-16le', 'utf-16be', 'windows-1252']) {
      const text = new TextDecoder(charset).decode(bytes)
      const fields = new URLSearchParams(`?${text}`)
      const parts = [text, ...text.split('\n'), text.slice(Math.max(0, text.indexOf('{')))]
      for (const part of [...parts, ...[...fields].flat()]) {
        const found = attempt(part)
        if (found !== null) return found
      }
      const lax = [...parts, ...[...fields].flat()].flatMap((part) => [part, unmarked(part)])
      for (const part of lax) {
        const found = evaluated(part)
        if (found !== null) return found
      }
      const method = fields.get('method')
      if (method !== null && operations.includes(method)) return `${method}|`
    }
    return null
  }
  const readMedia = async (field: string): Promise<string> => {
    const { type } = await new Response('x', { headers: { 'content-type': field } }).blob()
    if (type === '') throw new Error('no type')
    const [essence = '', ...parameters] = type.split(';')
    const charset = parameters.map((one) => one.trim()).find((one) => one.startsWith('charset='))
    return `${essence};${(charset ?? '').slice(8).replaceAll('"', '').toLowerCase()}`
  }
  const read = async (kind: string, type: string, bytes: Uint8Array): Promise<string | null> => {
    const text = new TextDecoder().decode(bytes)
    if (kind === 'json') return encode(JSON.parse(text))
    if (kind === 'call') return readCall(bytes)
    if (kind === 'form') return encode([...new URLSearchParams(`?${text}`)])
    if (kind === 'path') return decodeURIComponent(new URL(text, 'http://h.example').pathname)
    if (kind === 'media') return readMedia(new TextDecoder('latin1').decode(bytes))
    if (kind !== 'text') return null
    const charset = (await readMedia(type)).split(';')[1]
    return new TextDecoder(charset === '' ? 'utf-8' : charset, { fatal: true }).decode(bytes)
  }
  return Promise.all(
    asked.map(({ kind, type, body }) => read(kind, type, Uint8Array.from(body)).catch(() => null)),
  )
}
