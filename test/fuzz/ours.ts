import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { posix } from 'node:path'
import { parseMediaType, parseStrictJson, parseUtf8 } from '@countersign/protocol'
import { answerBudget } from '../../packages/fabric/src/budgets/answer-budget.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { Refusal } from '../../packages/fabric/src/lib/refusal.ts'
import type { StreamEvent } from '../../packages/fabric/src/pipeline/delivery.ts'
import { inspectFields } from '../../packages/fabric/src/pipeline/inspect-fields.ts'
import { withoutLineBreaks } from '../../packages/fabric/src/pipeline/line-breaks.ts'
import { classifyRequest } from '../../packages/fabric/src/protocols/classify.ts'
import { EventReader, formatEvent } from '../../packages/fabric/src/protocols/http/sse.ts'
import {
  forwardedHeaders,
  type Head,
  readHead,
} from '../../packages/fabric/src/protocols/reading/head.ts'
import { createRedactor } from '../../packages/fabric/src/redaction/scan/create-redactor.ts'
import type { Case } from './oracle.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(3) })
const nothing = { mask: [], block: [] }
export const formType = 'application/x-www-form-urlencoded'

/**
 * As the readers in `oracle.ts` write values down: one text for each value, whatever the language.
 */
export function encode(value: unknown): string {
  if (value === null) return 'n'
  if (typeof value === 'boolean') return value ? 't' : 'f'
  if (typeof value === 'string') return `s${Buffer.from(value).toString('hex')}`
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(8)
    // Zero has one sign here: a language with integers has no other.
    bytes.writeDoubleBE(value + 0)
    return `d${bytes.toString('hex')}`
  }
  if (Array.isArray(value)) return `[${value.map(encode).join(',')}]`
  const members = Object.entries(value as object).map(([n, one]) => `${encode(n)}:${encode(one)}`)
  return `{${members.toSorted().join(',')}}`
}

/** Returns the reading of a message by the fabric; null where the fabric refuses it. */
export function readOurs({ kind, type, body }: Case): string | null {
  if (kind === 'media') {
    const media = parseMediaType(Buffer.from(body).toString('latin1'))
    return media && `${media.essence};${media.charset ?? ''}`
  }
  if (kind === 'path') return readPath(Buffer.from(body).toString('latin1'))
  // An empty body is not JSON, and passes as no content.
  if (kind === 'json' && body.length === 0) return null
  const redacted = redactor.redact(body, type, nothing)
  if (redacted instanceof Refusal) return null
  if (kind === 'json') return encode(parseStrictJson(parseUtf8(body)))
  if (kind === 'form') return encode(formPairs(parseUtf8(body)))
  if (kind === 'text') return parseUtf8(redacted.body)
  return readCall({ kind, type, body })
}

/** Empty for what passes as plain HTTP: no other reader may find a call in it. */
function readCall({ type, body }: Case): string | null {
  const head = headOf(type)
  const read = classifyRequest({ head, body }, '/', 'auto')
  if (read instanceof Refusal) return null
  if (read.protocol === 'http') return ''
  const { method, params } = parseStrictJson(parseUtf8(body)) as {
    method?: string
    params?: { name?: string; uri?: string }
  }
  return `${method ?? ''}|${params?.name ?? params?.uri ?? ''}`
}

function headOf(type: string): Head {
  const headers = new Map([
    ['host', 'h.example'],
    ...(type === '' ? [] : [['content-type', type]]),
  ] as [string, string][])
  return { method: 'POST', path: '/', authority: 'h.example', headers }
}

/** WHATWG URL, section 5.1, as `inspect-form.ts` takes a body apart. */
function formPairs(text: string): [string, string][] {
  const plain = (part: string): string => {
    try {
      return decodeURIComponent(part.replaceAll('+', ' '))
    } catch {
      return part
        .replaceAll('+', ' ')
        .replaceAll(/(?:%[0-9a-f]{2})+/gi, (run) => decodeURIComponent(run))
    }
  }
  return text
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.includes('=') ? part.indexOf('=') : part.length
      return [plain(part.slice(0, at)), plain(part.slice(at + 1))]
    })
}

function readPath(url: string): string | null {
  const head = readHead({
    method: 'GET',
    url,
    rawHeaders: ['Host', 'h.example'],
    authority: '',
    httpVersion: '1.1',
  })
  if (head instanceof Refusal) return null
  const [path = ''] = url.split('?', 1)
  const read = classifyRequest({ head, body: new Uint8Array(0) }, path, 'auto')
  if (read instanceof Refusal) return null
  const decoded = posix.normalize(decodeURIComponent(path))
  return `${read.operation === 'GetAgentCard' ? 'card ' : ''}${decoded}`
}

export interface HeadReader {
  read(head: Uint8Array): Promise<string | null>
  close(): Promise<void>
}

/** A head goes through the parser that is in front of `readHead` in the product as well. */
export async function openHeadReader(): Promise<HeadReader> {
  const server = createServer({ requireHostHeader: false }, (request, response) => {
    const { method = '', url = '', rawHeaders, httpVersion } = request
    const head = readHead({ method, url, rawHeaders, authority: '', httpVersion })
    const read = head instanceof Refusal ? null : [head.method, head.path, fieldsOf(head)]
    response.setHeader('connection', 'close')
    response.end(`ours${JSON.stringify(read)}`)
  })
  server.on('clientError', (_, socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    read: (head) =>
      new Promise((resolve) => {
        let heard = ''
        const socket = connect(port, '127.0.0.1', () => socket.end(head))
        socket.on('data', (bytes) => {
          heard += bytes.toString()
        })
        socket.on('error', () => undefined)
        socket.on('close', () => {
          const read = /ours(.*)/s.exec(heard)?.[1]
          resolve(read === undefined || read === 'null' ? null : read)
        })
      }),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

const fieldsOf = (head: Head) => inspectFields(forwardedHeaders(head), nothing, redactor).fields

const masked = { mask: ['card'], block: [] }

/** The body as it would leave under `@mask("card")`; null where it is refused. */
export function maskOurs({ type, body }: Case): Case['body'] | null {
  const redacted = redactor.redact(body, type, masked)
  return redacted instanceof Refusal ? null : redacted.body
}

const budget = answerBudget({
  ...{ name: 'limits.responseMemoryBytes', totalBytesMax: 64 * 1024 * 1024 },
  ...{ receiverPart: 1, callerPart: 1, bodyBytesMax: 1024, clock: systemClock },
})

/** The events of a stream, in chunks of seven bytes; null where the stream is cut. */
async function readEvents({ body }: Case): Promise<readonly StreamEvent[] | null> {
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < body.length; at += 7) yield body.subarray(at, at + 7)
  }
  const events: StreamEvent[] = []
  const share = budget.open('receiver', 'caller')
  try {
    for await (const event of new EventReader(chunks(), share)) events.push(event)
    return events
  } catch {
    return null
  } finally {
    share.close()
  }
}

/** As any reader should see the events that we hand on. */
export async function eventsOf(one: Case): Promise<string | null> {
  const events = await readEvents(one)
  return (
    events &&
    encode(
      events.map(({ data, contentType, frame, hasEmptyData }) => {
        const text = parseUtf8(withoutLineBreaks(data, contentType))
        const own =
          text === '' && frame.length > 0 && !hasEmptyData
            ? []
            : [['data', text.replaceAll(/\r\n?/g, '\n')]]
        return [...frame, ...own]
      }),
    )
  )
}

export async function formatOurs(one: Case): Promise<Case> {
  const events = (await readEvents(one)) ?? []
  return { ...one, body: Buffer.concat(events.map(formatEvent)) }
}
