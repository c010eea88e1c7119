import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { DEMO_STEPS, isRunning, openDemo, type Step } from '../harness/demo.ts'

const demo = openDemo()
afterAll(() => demo.close())

test('the demo prints text of 80 columns for people, also when it runs again on the same folder', async () => {
  await demo.run('--json')
  const { text } = await demo.run()
  expect(text).toContain('5 of 5 steps held')
  for (const step of DEMO_STEPS) expect(text).toMatch(new RegExp(`✓ \\d\\. ${step}: `))
  expect(text).not.toContain('\u001b[')
  expect(text).not.toContain('✗')
  const isWide = (line: string): boolean => Array.from(line).length > 80
  expect(text.split('\n').filter(isWide)).toEqual([])
})

/** An agent notices within moments that its parent is gone; this is for a machine that is busy. */
const orphanMsMax = 60_000

test('a demo that is killed leaves no agent behind', async () => {
  const killed = demo.start('--json')
  if (killed.stdout === null) throw new Error('no output')
  let pids: readonly number[] = []
  for await (const line of createInterface({ input: killed.stdout })) {
    const { processes } = JSON.parse(line) as Step
    pids = Object.values(processes ?? {})
    break
  }
  expect(pids).toHaveLength(3)
  expect(pids.every(isRunning)).toBe(true)
  killed.kill('SIGKILL')
  for (const end = performance.now() + orphanMsMax; performance.now() < end; await sleep(50)) {
    if (!pids.some(isRunning)) break
  }
  expect(pids.filter(isRunning)).toEqual([])
})
