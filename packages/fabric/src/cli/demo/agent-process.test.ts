import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { type AgentProcess, startAgentProcess } from './agent-process.ts'

type Known = {
  readonly double: (count: number) => Promise<number>
  readonly fail: () => Promise<never>
  readonly vanish: () => Promise<never>
  readonly unknown: () => Promise<never>
}

const dir = mkdtempSync(join(tmpdir(), 'countersign-agent-process-'))
const started: AgentProcess<Known>[] = []
afterEach(() => Promise.all(started.splice(0).map((agent) => agent.stop())))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function start(name: string, extra = ''): AgentProcess<Known> {
  const orders = JSON.stringify(new URL('orders.ts', import.meta.url).href)
  const file = join(dir, `${name}.mjs`)
  writeFileSync(
    file,
    `import { obey } from ${orders}
    obey({
      double: (count) => Promise.resolve(count * 2),
      fail: () => Promise.reject(new Error('it is broken')),
      vanish: () => { console.error('out of paper'); process.exit(3) },
    })
    ${extra}`,
  )
  const agent = startAgentProcess<Known>(name, pathToFileURL(file))
  started.push(agent)
  return agent
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('an agent in a process of its own', () => {
  test('answers orders, many at once, each with its own answer', async () => {
    const agent = start('good')
    const asked = Array.from({ length: 20 }, (_, count) => agent.order('double', count))
    expect(await Promise.all(asked)).toEqual(asked.map((_, count) => count * 2))
  })

  test('tells what failed, and lives on', async () => {
    const agent = start('failing')
    await expect(agent.order('fail')).rejects.toThrow('failing: it is broken')
    await expect(agent.order('unknown')).rejects.toThrow('there is no order unknown')
    expect(await agent.order('double', 4)).toBe(8)
  })

  test('rejects what it was asked when it ends, with what it last wrote', async () => {
    const agent = start('vanishing')
    await expect(agent.order('vanish')).rejects.toThrow(/ended \(3\).*out of paper/s)
    await expect(agent.order('double', 1)).rejects.toThrow('is not running')
  })

  test('is gone after it was stopped, even when it does not want to go', async () => {
    const agent = start('stubborn', "process.on('SIGTERM', () => undefined)")
    await agent.order('double', 1)
    expect(isRunning(agent.pid)).toBe(true)
    await agent.stop()
    expect(isRunning(agent.pid)).toBe(false)
    // A second stop has nothing to do.
    await agent.stop()
  })

  test('that cannot be started rejects the first order', async () => {
    const missing = pathToFileURL(join(dir, 'missing.mjs'))
    const agent = startAgentProcess<Known>('missing', missing)
    await expect(agent.order('double', 1)).rejects.toThrow(/missing (ended|is not running)/)
  })
})
