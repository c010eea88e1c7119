import { describe, expect, test, vi } from 'vitest'
import { AgentError } from '../lib/fault.ts'
import { askHolder } from './at-holder.ts'
import type { FabricConnection } from './fabric-connection.ts'
import { findRefusal, RefusedError } from './refused.ts'

const address = 'https://replica-b.test:8443'

function elsewhere(holder: string | null): RefusedError {
  const headers: Readonly<Record<string, string | null>> = {
    ...{ 'countersign-refusal': 'EXCHANGE_ELSEWHERE', 'countersign-holder': holder },
  }
  const refusal = findRefusal(421, (name) => headers[name] ?? null)
  if (refusal === null) throw new Error('the headers carry a refusal')
  return refusal
}

function connectionOf(authority: string): FabricConnection {
  const request = () => Promise.reject(new Error('not asked here'))
  return { authority, request, renew: () => undefined, close: vi.fn<() => void>() }
}

function agent() {
  const [first, second] = [connectionOf('first'), connectionOf('second')]
  const connectionTo = vi.fn<(url: string) => FabricConnection>(() => second)
  return { identity: { connection: first, connectionTo }, first, second, connectionTo }
}

describe('a question about an exchange', () => {
  test('goes to the replica that holds its log, and its connection is closed', async () => {
    const { identity, first, second, connectionTo } = agent()
    const answered = await askHolder(identity, async (asked) => {
      if (asked === first) throw elsewhere(`b; address=${address}`)
      return 'answer'
    })
    expect(answered).toBe('answer')
    expect(connectionTo.mock.calls).toEqual([[address]])
    expect(second.close).toHaveBeenCalledOnce()
  })

  test('goes no further than that, where two replicas name each other', async () => {
    const { identity, connectionTo, second } = agent()
    const ask = vi.fn<(asked: FabricConnection) => Promise<never>>(async () => {
      throw elsewhere(`b; address=${address}`)
    })
    await expect(askHolder(identity, ask)).rejects.toMatchObject({ code: 'EXCHANGE_ELSEWHERE' })
    expect(ask).toHaveBeenCalledTimes(2)
    expect(connectionTo).toHaveBeenCalledOnce()
    expect(second.close).toHaveBeenCalledOnce()
  })

  test.each([null, 'b', 'b; address=http://replica-b.test', 'b; address=https://a.test/path'])(
    'goes to no other replica where the refusal names %j',
    async (holder) => {
      const { identity, connectionTo } = agent()
      const asked = askHolder(identity, () => Promise.reject(elsewhere(holder)))
      await expect(asked).rejects.toMatchObject({ code: 'EXCHANGE_ELSEWHERE' })
      expect(connectionTo).not.toHaveBeenCalled()
    },
  )

  test('goes to no other replica for a refusal of another code', async () => {
    const { identity, connectionTo } = agent()
    const headers: Readonly<Record<string, string>> = {
      ...{ 'countersign-refusal': 'NOT_PERMITTED', 'countersign-holder': `b; address=${address}` },
    }
    const refusal = findRefusal(403, (name) => headers[name] ?? null)
    await expect(askHolder(identity, () => Promise.reject(refusal))).rejects.toBe(refusal)
    expect(connectionTo).not.toHaveBeenCalled()
  })

  test('names the holder that cannot be reached', async () => {
    const { identity, first } = agent()
    const asked = askHolder(identity, async (connection) => {
      throw connection === first
        ? elsewhere(`b; address=${address}`)
        : new AgentError('FABRIC_UNREACHABLE')
    })
    await expect(asked).rejects.toThrow(`the holder of log slot b, ${address}`)
  })
})
