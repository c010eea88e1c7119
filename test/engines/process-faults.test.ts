import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Lab, plantSeed, type Seed } from '../faults/lab.ts'
import type { ServerOptions, ServerProcess } from '../faults/server-process.ts'
import { connectorFaults, type Fault, runFaults, startFaults } from '../faults/table.ts'

let seed: Seed

beforeAll(async () => {
  seed = await plantSeed()
}, 120_000)

afterAll(() => rmSync(seed.dir, { recursive: true, force: true }))

const isRoot = process.getuid?.() === 0
/** Returns whether a process has not ended soon after its fault. */
async function stays({ ended }: ServerProcess): Promise<boolean> {
  const later = new Promise<true>((resolve) => setTimeout(resolve, 5_000, true))
  return Promise.race([ended.then(() => false), later])
}

type Start = (options?: Partial<ServerOptions>) => ServerProcess

async function suffer(lab: Lab, fault: Fault, start: Start): Promise<void> {
  const more = (await fault.prepare?.(lab)) as Partial<ServerOptions> | undefined
  const server = start({ ...fault.options, ...(more?.words === undefined ? {} : more) })
  if (fault.inject !== undefined) {
    await server.ready()
    await fault.inject(lab, server)
  }
  if (fault.ends === 'runs') {
    await vi.waitFor(() => expect(server.output).toMatch(fault.says), { timeout: 20_000 })
    expect(await lab.command('status')).toBe(0)
    server.signal('SIGTERM')
    expect({ end: await server.end(), output: server.output }).toMatchObject({ end: 0 })
  } else if (fault.mayRefuse === true && (await stays(server))) {
    expect(server.output).toMatch(fault.says)
    await fault.repair?.(lab)
    await vi.waitFor(async () => expect(await lab.command('status')).toBe(0), { timeout: 20_000 })
    server.signal('SIGTERM')
    expect({ end: await server.end(), output: server.output }).toMatchObject({ end: 0 })
    return
  } else {
    expect({ end: await server.end(), stderr: server.stderr }).toMatchObject({ end: fault.ends })
    expect(server.output).toMatch(fault.says)
  }
  await fault.repair?.(lab)
  const next = start()
  await next.ready()
  next.signal('SIGTERM')
  expect({ end: await next.end(), stderr: next.stderr }).toMatchObject({ end: 0 })
}

async function inLab(work: (lab: Lab) => Promise<void>): Promise<void> {
  const lab = Lab.open(seed)
  try {
    await work(lab)
  } finally {
    lab.close()
  }
}

describe.concurrent('a fabric ends, and starts again [operate:fatal-ends]', {
  timeout: 180_000,
}, () => {
  for (const fault of [...startFaults, ...runFaults]) {
    test.skipIf(fault.asRoot === true && !isRoot)(fault.fault, () =>
      inLab((lab) => suffer(lab, fault, (options) => lab.start(options))),
    )
  }
})

describe.concurrent('a connector ends, and starts again', { timeout: 180_000 }, () => {
  test.each(connectorFaults)('$fault', (fault) =>
    inLab(async (lab) => {
      await lab.start().ready()
      const first = lab.connect()
      await first.ready()
      first.signal('SIGTERM')
      await first.end()
      await suffer(lab, fault, (options) => lab.connect(options))
    }),
  )
})
