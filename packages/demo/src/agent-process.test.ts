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
  const commands = JSON.stringify(new URL('commands.ts', import.meta.url).href)
  const file = join(dir, `${name}.mjs`)
  writeFileSync(
    file,
    `import { serveCommands } from ${commands}
    serveCommands({
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
  test('answers commands, many at once, each with its own result', async () => {
    const agent = start('good')
    const asked = Array.from({ length: 20 }, (_, count) => agent.send('double', count))
    expect(await Promise.all(asked)).toEqual(asked.map((_, count) => count * 2))
  })

  test('reports what failed, and goes on running', async () => {
    const agent = start('failing')
    await expect(agent.send('fail')).rejects.toThrow('failing: it is broken')
    await expect(agent.send('unknown')).rejects.toThrow('there is no command unknown')
    expect(await agent.send('double', 4)).toBe(8)
  })

  test('rejects pending commands when it ends, with its last output', async () => {
    const agent = start('vanishing')
    await expect(agent.send('vanish')).rejects.toThrow(/ended \(3\).*out of paper/s)
    await expect(agent.send('double', 1)).rejects.toThrow('is not running')
  })

  test('is gone after it was stopped, even when it ignores SIGTERM', async () => {
    const agent = start('stubborn', "process.on('SIGTERM', () => undefined)")
    await agent.send('double', 1)
    expect(isRunning(agent.pid)).toBe(true)
    await agent.stop()
    expect(isRunning(agent.pid)).toBe(false)
    // A second stop has nothing to do.
    await agent.stop()
  })

  test('that cannot be started rejects the first command', async () => {
    const missing = pathToFileURL(join(dir, 'missing.mjs'))
    const agent = startAgentProcess<Known>('missing', missing)
    await expect(agent.send('double', 1)).rejects.toThrow(/missing (ended|is not running)/)
  })
})
