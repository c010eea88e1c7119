import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, expect, inject, test } from 'vitest'
import { verifies } from '../requirements.ts'

const started: { kill(): Promise<void> }[] = []
afterEach(async () => {
  for (const each of started.splice(0)) await each.kill()
})

const program = new URL('../harness/claiming-process.ts', import.meta.url).pathname

/** `limit`: a shell command before it, such as one that bounds what it may write. */
async function startClaiming(dir: string, args: readonly string[] = [], limit = 'true') {
  const node = `exec '${process.execPath}' --conditions=countersign-source "$@"`
  const child = spawn('bash', ['-c', `${limit}; ${node}`, 'bash', program, dir, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const read = async (): Promise<string> => (await lines.next()).value ?? 'the process has ended'
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  started.push({ kill })
  const said: string[] = []
  for (let line = await read(); line !== 'ready'; line = await read()) said.push(line)
  return {
    kill,
    said,
    async claim(value: string): Promise<string> {
      child.stdin.write(`${value}\n`)
      const answer = await read()
      return answer.slice(value.length + 1)
    },
  }
}

const openFolder = () => mkdtempSync(join(inject('worldsDir'), 'used-'))

test.runIf(process.platform === 'linux')(
  verifies(['authenticate:replay'], 'kill -9 does not make a used nonce good again'),
  async () => {
    const dir = openFolder()
    const first = await startClaiming(dir, ['first'])
    expect(await first.claim('a')).toBe('true')
    expect(await first.claim('a')).toBe('false')
    await first.kill()
    const second = await startClaiming(dir)
    expect(second.said).toEqual([])
    expect(await second.claim('a')).toBe('false')
    expect(await second.claim('b')).toBe('true')
    await second.kill()
    const third = await startClaiming(dir)
    expect(await third.claim('a')).toBe('false')
    expect(await third.claim('b')).toBe('false')
  },
)

test('a disk that takes no more refuses the nonce, and keeps those before it', async () => {
  const dir = openFolder()
  // Files of at most 1 KiB: the 21st value would be written in part. The signal is ignored;
  // the write returns an error as well.
  const limited = await startClaiming(dir, ['first'], "trap '' XFSZ; ulimit -f 1")
  for (let i = 0; i < 20; i++) expect(await limited.claim(`n${i}`)).toBe('true')
  expect(await limited.claim('n20')).toMatch(/^refused: /)
  expect(await limited.claim('n20')).toMatch(/^refused: /)
  expect(await limited.claim('n19')).toBe('false')
  await limited.kill()
  const next = await startClaiming(dir)
  expect(next.said).toEqual([])
  for (let i = 0; i < 20; i++) expect(await next.claim(`n${i}`)).toBe('false')
  expect(await next.claim('n20')).toBe('true')
})

test('two processes in one folder do not share what they do not both know', async () => {
  const dir = openFolder()
  const first = await startClaiming(dir, ['first'])
  expect(await first.claim('a')).toBe('true')
  const second = await startClaiming(dir)
  expect(second.said.join()).toContain('another process has the record of used values open')
  // Its start counts as a loss, and the value is as old as that.
  expect(await second.claim('a')).toMatch(/^refused: .* may have been lost/)
})
