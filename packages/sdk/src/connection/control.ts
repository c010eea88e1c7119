import { setTimeout as sleep } from 'node:timers/promises'
import {
  fieldValues,
  type HeaderList,
  parseStrictJson,
  parseUtf8,
  utf8,
} from '@countersign/protocol'
import { AgentError, type FaultCode } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { randomBelow } from '../lib/random.ts'
import { readAll } from './body.ts'
import type { ConnectionResponse, FabricConnection } from './fabric-connection.ts'
import { findRefusal, RefusedError } from './refused.ts'

/** A request to the fabric itself, not to an agent behind it. */
export interface ControlRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** Sent as JSON. */
  readonly value?: unknown
  readonly signal?: AbortSignal
}

/** Throws the RefusedError that the response carries, and ANSWER_MALFORMED for other failures. */
export async function askControl(
  connection: FabricConnection,
  request: ControlRequest,
): Promise<unknown> {
  const response = await connection.request({
    method: request.method,
    path: request.path,
    headers: [
      ['accept', 'application/json'],
      ...(request.value === undefined ? [] : [['content-type', 'application/json'] as const]),
    ],
    body: request.value === undefined ? new Uint8Array(0) : utf8(JSON.stringify(request.value)),
    signal: request.signal,
    repeatable: request.method === 'GET',
  })
  const bytes = await readAll(response.body, LIMITS.controlBytesMax, 'ANSWER_TOO_LARGE')
  checkSuccess(response)
  if (bytes.length === 0) return null
  try {
    return parseStrictJson(parseUtf8(bytes))
  } catch (cause) {
    throw new AgentError('ANSWER_MALFORMED', request.path, { cause })
  }
}

function checkSuccess(response: ConnectionResponse): void {
  const refusal = findRefusal(response.status, headerReader(response.headers))
  if (refusal !== null) throw refusal
  if (response.status >= 200 && response.status < 300) return
  throw new AgentError('ANSWER_MALFORMED', `status ${response.status}`)
}

/** Reads the one value of a field; null when it is absent or repeated. */
export function headerReader(headers: HeaderList): (name: string) => string | null {
  return (name) => {
    const [value, ...others] = fieldValues(name, headers)
    return value === undefined || others.length > 0 ? null : value
  }
}

const firstPauseMs = 200

/**
 * For what may happen twice, such as a renewal. Tries `attempt` until it succeeds, is refused for
 * good, or has failed `attemptsMax` times; between tries it waits twice as long each time, with
 * jitter, so that agents do not return all at once.
 */
export async function retrying<T>(
  attempt: () => Promise<T>,
  signal: AbortSignal,
  attemptsMax: number = LIMITS.attemptsMax,
): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await attempt()
    } catch (error) {
      if (count >= attemptsMax || signal.aborted || !isPassing(error)) throw error
      const told = error instanceof RefusedError ? (error.retryAfterMs ?? 0) : 0
      const pauseMs = Math.min(firstPauseMs * 2 ** (count - 1), 10_000)
      await sleep(Math.max(told, pauseMs) + randomBelow(pauseMs), undefined, { signal, ref: false })
    }
  }
}

const passingFaults: ReadonlySet<FaultCode> = new Set([
  'FABRIC_UNREACHABLE',
  'OUTCOME_UNKNOWN',
  'BODY_UNFINISHED',
])

export function isPassing(error: unknown): boolean {
  if (error instanceof RefusedError) return error.retry || error.code === 'OUTCOME_UNKNOWN'
  return error instanceof AgentError && passingFaults.has(error.code)
}
