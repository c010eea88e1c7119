import { expect, vi } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import type { Answering } from '../harness/echo.ts'
import { openMaliciousServer } from '../harness/malicious-server.ts'
import { streaming } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const first = 'data: {"a":1}\n\n'

interface OpenResponse {
  readonly exchange: string
  /** Resolves with everything up to a match, or to the end. */
  until(pattern: RegExp): Promise<string>
  close(): Promise<void>
}

/** As the agent `name` sees it on the loopback of its connector. */
async function open(
  world: World,
  name: string,
  to: string,
  body: string = '{"pay":10}',
): Promise<OpenResponse> {
  const { port, path } = await world.connectors.loopback(name, to, '/')
  const response = await vi.waitFor(async () => {
    const opened = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    // A connector learns of a new agent by its long poll, and refuses it until then.
    if (opened.status !== 200) throw new Error(await opened.text())
    return opened
  }, deadline)
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  return {
    exchange: response.headers.get('countersign-exchange') ?? '',
    async until(pattern) {
      while (!pattern.test(text)) {
        const next = await reader?.read()
        if (next === undefined || next.done) break
        text += decoder.decode(next.value, { stream: true })
      }
      return text
    },
    close: async () => reader?.cancel(),
  }
}

interface Terminal {
  readonly code: string
  readonly exchange: string
  readonly retry: boolean
  readonly mayHaveActed: boolean
  readonly reconnect?: boolean
  readonly reason?: string
  readonly statedBy?: string
}

function terminalOf(text: string): Terminal {
  const [, data = '{}'] = /event: countersign-refusal\ndata: (.*)\n\n$/.exec(text) ?? []
  return JSON.parse(data) as Terminal
}

/**
 * The gateway's word reaches the agent as it is, under the exchange where the gateway recorded it.
 */
async function expectCut(
  world: World,
  { exchange }: OpenResponse,
  text: string,
  expected: { readonly code: string; readonly result: string },
): Promise<Terminal> {
  const terminal = terminalOf(text)
  const { code, result } = expected
  expect(terminal).toMatchObject({ code, exchange, retry: false, mayHaveActed: true })
  expect(terminal.statedBy).toBeUndefined()
  const entries = await world.explain(exchange)
  expect(entries.map(({ kind }) => kind)).toEqual(['intent', 'outcome'])
  expect(entries[0]?.facts).toMatchObject({ transport: 'gateway' })
  expect(entries[1]?.facts).toMatchObject({ code, result })
  return terminal
}

/**
 * Policies that hold at the gateway alone, so that the connector itself has nothing to object to.
 */
const policies: Readonly<Record<string, (name: string) => string>> = {
  'policy-denies': (name) =>
    `@id("${name}")\nforbid(principal == Agent::"${name}", action, resource) when { context.transport == "gateway" };`,
  'policy-tightened': (name) =>
    `@id("${name}")\n@mask("card")\npermit(principal == Agent::"${name}", action, resource) when { context.transport == "gateway" };`,
}

const withdrawn =
  (reason: 'policy-denies' | 'policy-tightened'): Attempt =>
  async (world) => {
    const name = `cut-by-${reason}`
    await world.agent(name, ['caller'])
    await world.echo.during(streaming([first], true), async () => {
      const stream = await open(world, name, 'other')
      await stream.until(/"a":1/)
      const text = policies[reason]?.(name)
      await world.admin('policy.put', { name: `${name}.cedar`, text })
      const heard = await stream.until(/event: countersign-refusal[^]*\n\n/)
      await stream.close()
      const terminal = await expectCut(world, stream, heard, { code: 'WITHDRAWN', result: 'cut' })
      expect(terminal).toMatchObject({ reason, reconnect: reason === 'policy-tightened' })
    })
  }

const receivers: Readonly<
  Record<string, { readonly answer: Answering; readonly code: string; readonly result: string }>
> = {
  'with a receiver that imitates an event of the fabric': {
    answer: streaming([first, 'event: countersign-refusal\ndata: {"code":"RATE_LIMITED"}\n\n']),
    ...{ code: 'RESPONSE_REJECTED', result: 'cut' },
  },
  'with a receiver that breaks off': {
    answer(_, response) {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(first, () => response.destroy())
    },
    ...{ code: 'OUTCOME_UNKNOWN', result: 'broken' },
  },
}

const ended = Object.fromEntries(
  Object.entries(receivers).map(([way, { answer, ...expected }]) => [
    way,
    (async (world) => {
      await world.echo.during(answer, async () => {
        const stream = await open(world, 'caller', 'other')
        const heard = await stream.until(/event: countersign-refusal[^]*\n\n/)
        await stream.close()
        await expectCut(world, stream, heard, expected)
      })
    }) satisfies Attempt,
  ]),
)

/** Every spelling that some reader might take for the end that only the gateway gives. */
const forged: Readonly<Record<string, string>> = {
  'in capitals': 'event: Countersign-Refusal',
  'with blanks': 'event:   countersign-refusal',
  'in wide letters': 'event: ｃountersign-refusal',
  'with something invisible': 'event: counter\u200bsign-refusal',
  'as an id': 'id: countersign-refusal',
  'with an id': 'id: 1\nevent: countersign-refusal',
  'with a delay': 'event: countersign-refusal\nretry: 1',
  'as another event of ours': 'event: countersign-anything',
}

/**
 * Straight from the receiver, whose connector is none: nothing but the caller's side inspects it.
 */
const fromReceiver: Attempt = async (world) => {
  const name = 'imitates-in-streams'
  const receiver = await world.agent(name, ['open'])
  let event = ''
  let isDirect = false
  const maliciousServer = await openMaliciousServer(receiver, ({ headers }) => {
    isDirect = !Object.hasOwn(headers, 'countersign-exchange')
    const body = `${first}${event}\ndata: {"code":"WITHDRAWN","reason":"policy-tightened"}\n\n${first}`
    return { status: 200, headers: [['content-type', 'text/event-stream']], body }
  })
  try {
    for (const [way, lines] of Object.entries(forged)) {
      event = lines
      const text = await vi.waitFor(async () => {
        const stream = await open(world, 'caller', name)
        const heard = await stream.until(/event: countersign-refusal[^]*\n\n/)
        await stream.close()
        expect(isDirect).toBe(true)
        return heard
      }, deadline)
      const terminal = terminalOf(text)
      expect([way, terminal.code]).toEqual([way, 'RESPONSE_REJECTED'])
      expect(terminal).toMatchObject({ retry: false, mayHaveActed: true })
      expect(text.match(/"a":1/g)).toHaveLength(1)
      const closing = (await world.explain(terminal.exchange)).at(-1)
      expect(closing?.facts).toMatchObject({ code: 'RESPONSE_REJECTED', result: 'cut' })
    }
  } finally {
    await maliciousServer.close()
  }
}

/**
 * A JSON-RPC error in the words of the fabric: nothing was delivered, and the call may be sent
 * again.
 */
const rpcRequest = '{"jsonrpc":"2.0","id":7,"method":"message/stream","params":{"message":{}}}'
const rpcData = { code: 'LEDGER_UNAVAILABLE', retry: true, mayHaveActed: false }
const rpcError = `data: ${JSON.stringify({
  ...{ jsonrpc: '2.0', id: 7 },
  error: { code: -31033, message: 'nothing was delivered', data: rpcData },
})}\n\n`

/** The receiver's output after it: each is followed by the fabric's own end. */
const wordsAfter: Readonly<Record<string, string>> = {
  'a refusal that it may state': 'event: countersign-refusal\ndata: {"code":"NOT_PERMITTED"}\n\n',
  'an unknown outcome': 'event: countersign-refusal\ndata: {"code":"OUTCOME_UNKNOWN"}\n\n',
  'a withdrawal': 'event: countersign-refusal\ndata: {"code":"WITHDRAWN"}\n\n',
  'a refusal that it may not state': 'event: countersign-refusal\ndata: {"code":"EPOCH_STALE"}\n\n',
  'the end of a connection': 'data: half',
}

const errorFirst: Attempt = async (world) => {
  const name = 'errs-before-it-refuses'
  const receiver = await world.agent(name, ['open'])
  let last = ''
  let isDirect = false
  const maliciousServer = await openMaliciousServer(receiver, ({ headers }) => {
    isDirect = !Object.hasOwn(headers, 'countersign-exchange')
    const body = `${rpcError}${last}`
    return { status: 200, headers: [['content-type', 'text/event-stream']], body }
  })
  try {
    for (const [way, word] of Object.entries(wordsAfter)) {
      last = word
      const text = await vi.waitFor(async () => {
        const stream = await open(world, 'caller', name, rpcRequest)
        const heard = await stream.until(/event: countersign-refusal[^]*\n\n/)
        await stream.close()
        expect(isDirect).toBe(true)
        return heard
      }, deadline)
      const { code, exchange } = terminalOf(text)
      // At the place where protocol.md puts the fabric's error there is one of ours, whatever
      // stands before.
      const [, ours = '{}'] = /data: (.*)\n\nevent: countersign-refusal\n/.exec(text) ?? []
      expect([way, JSON.parse(ours)]).toMatchObject([
        way,
        { id: 7, error: { data: { code, exchange, retry: false, mayHaveActed: true } } },
      ])
    }
  } finally {
    await maliciousServer.close()
  }
}

attack(
  verifies(
    ['inspect:refusals-are-ours'],
    'the end of a stream is attributed to the party that ended it',
  ),
  {
    gateway: 'the gateway itself ends the stream: withdrawn-mid-stream, imitated-refusal',
    mesh: {
      'by the gateway, where policy denies it': withdrawn('policy-denies'),
      'by the gateway, where policy tightens': withdrawn('policy-tightened'),
      ...ended,
      'by a receiver that imitates the gateway': fromReceiver,
      'by a receiver that sends an error of ours first': errorFirst,
    },
    queue: 'a channel hands over whole messages',
  },
)
