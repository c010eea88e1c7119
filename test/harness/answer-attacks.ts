import type { RefusalCode } from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import type { Attempt } from './attack.ts'
import { deadline } from './deadline.ts'
import type { HeaderList } from './doors.ts'
import { refusalOf, send } from './doors.ts'
import type { Reached } from './echo.ts'
import { type MaliciousAnswer, openMaliciousServer } from './malicious-server.ts'
import { type Heard, talk } from './raw-http.ts'
import { exchangeOf, expectAnswerRefused, expectHeard } from './refusals.ts'
import { signed } from './signed.ts'
import type { World } from './world.ts'

/** Given what reached the receiver and its identity, how it answers. */
export type Answer = (reached: Reached, receiver: Identity, world: World) => MaliciousAnswer

export interface AnswerAttack {
  readonly code: RefusalCode
  readonly answer: Answer
  /** The role of the receiver, by which policy may oblige it to countersign. */
  readonly role?: 'open' | 'countersigned'
  /** True when the caller signs at the gateway, too; a connector always does. */
  readonly isSigned?: boolean
}

/**
 * The gateway delivered the request; the response is withheld there, and the outcome states why.
 */
export function answeredAtGateway(attack: AnswerAttack): Attempt {
  const { code, answer, role = 'countersigned', isSigned = false } = attack
  return async (world) => {
    const to = role === 'open' ? 'echo' : 'countersigned'
    const receiver = await world.agent(to)
    const draft = isSigned ? await signed(world.gateway, world.caller, { to }) : { to }
    await expectAnswerRefused(world, 'gateway', {
      code,
      attempt: () =>
        world.echo.during(
          (reached, response) => {
            const { status, headers, body } = answer(reached, receiver, world)
            response.writeHead(status, headers.flat()).end(body)
          },
          () => send(world.gateway, draft),
        ),
    })
  }
}

let maliciousServers = 0

/**
 * The caller's connector asked a receiver that has none: the answer is held back on the caller's
 * side.
 */
export function answeredOnMesh({ code, answer, role = 'countersigned' }: AnswerAttack): Attempt {
  return async (world) => {
    const name = `malicious-${maliciousServers++}`
    const receiver = await world.agent(name, [role])
    const maliciousServer = await openMaliciousServer(receiver, (reached) =>
      answer(reached, receiver, world),
    )
    try {
      // Until the connector knows the receiver, it asks by way of the gateway, where the request is
      // refused as well.
      await vi.waitFor(async () => {
        const heard = await askThroughConnector(world, name)
        expectHeard(heard, 'mesh', code)
        const entries = await world.explain(exchangeOf(heard))
        expect(entries.map(({ kind, facts }) => [kind, facts['code']])).toEqual([['refusal', code]])
      }, deadline)
    } finally {
      await maliciousServer.close()
    }
  }
}

/** Asks `to` from the loopback of the caller's connector, once the connector may. */
export async function askThroughConnector(world: World, to: string): Promise<Heard> {
  const { port, authority, path } = await world.connectors.loopback('caller', to, '/')
  const body = '{"pay":10}'
  const lines = [
    `POST ${path} HTTP/1.1`,
    `Host: ${authority}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
  ]
  return vi.waitFor(async () => {
    const [heard] = await talk({ port, credential: null }, [`${lines.join('\r\n')}\r\n\r\n`, body])
    if (heard === undefined) throw new Error('the connector hung up')
    // Until the state with the new agent arrives, it is unknown or leads to the gateway.
    expect(refusalOf(heard)).not.toMatch(/NOT_PERMITTED|RECEIVER_UNREACHABLE|RECEIVER_UNKNOWN/)
    return heard
  }, deadline)
}

/** As both: at the gateway, and on the caller's side of the mesh. */
export function eachAnswered(attacks: Readonly<Record<string, AnswerAttack>>) {
  const all = Object.entries(attacks)
  return {
    gateway: Object.fromEntries(all.map(([way, each]) => [way, answeredAtGateway(each)])),
    mesh: Object.fromEntries(all.map(([way, each]) => [way, answeredOnMesh(each)])),
  }
}

export function answerWith(headers: HeaderList, body: string, status = 200): MaliciousAnswer {
  return { status, headers, body }
}
