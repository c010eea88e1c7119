import { tmpdir } from 'node:os'
import { describe, expect, test, vi } from 'vitest'
import { type EndingParts, watchEnding } from './ending.ts'
import { Failure } from './failure.ts'
import { brokenFailure, machineFailure } from './machine-fault.ts'

function watched() {
  const parts = {
    report: vi.fn<EndingParts['report']>(),
    exit: vi.fn<EndingParts['exit']>(),
    lastResort: vi.fn<EndingParts['lastResort']>(() => () => undefined),
    watchStarter: vi.fn<EndingParts['watchStarter']>(() => () => undefined),
  }
  return { parts, ending: watchEnding(parts) }
}

const dataDir = tmpdir()
const full = new Failure('broken', 'the disk is full', 'free space')

describe('a fatal error', () => {
  test('is reported at once, asks for the end, and ends the process within two seconds', async () => {
    vi.useFakeTimers()
    const { ending, parts } = watched()
    ending.fatal(full)
    expect(parts.report).toHaveBeenCalledExactlyOnceWith(full)
    expect(ending.signal.aborted).toBe(true)
    expect(parts.exit).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(2_000)
    expect(parts.exit).toHaveBeenCalledExactlyOnceWith(74)
    // The thread that kills comes later than the exit code, and soon enough.
    expect(parts.lastResort.mock.calls[0]?.[0]).toBeLessThanOrEqual(2_000)
    ending.finish()
    vi.useRealTimers()
  })

  test('keeps its own exit code, whatever fails after it', () => {
    const { ending, parts } = watched()
    ending.fatal(full)
    ending.fatal(new Failure('internal', 'its consequence'))
    ending.finish()
    expect(parts.report).toHaveBeenCalledOnce()
    expect(parts.exit).toHaveBeenCalledExactlyOnceWith(74)
  })
})

describe('an error that nothing caught', () => {
  test.each([
    ['ENOENT', 70],
    ['EACCES', 70],
    ['EADDRINUSE', 70],
    ['ENOSPC', 74],
    ['EMFILE', 74],
  ])('%s of a file or port is not blamed on the command line', (code, exit) => {
    const { ending, parts } = watched()
    const uncaught = process.listeners('uncaughtException').at(-1)
    const at = code === 'EADDRINUSE' ? { port: 1 } : { path: '/x' }
    uncaught?.(Object.assign(new Error(code), { code, ...at }), 'uncaughtException')
    ending.finish()
    // Systemd does not restart a server that ends with 2.
    expect(parts.exit).toHaveBeenCalledExactlyOnceWith(exit)
  })
})

describe('a signal', () => {
  const interrupt = (): boolean => process.emit('SIGTERM')

  test('asks for a stop in order, and a second one ends at once', () => {
    const { ending, parts } = watched()
    const first = vi.fn<() => void>()
    ending.acceptSignals(10_000, first)
    interrupt()
    expect(first).toHaveBeenCalledOnce()
    expect(ending.signal.aborted).toBe(true)
    expect(parts.exit).not.toHaveBeenCalled()
    interrupt()
    expect(parts.exit).toHaveBeenCalledExactlyOnceWith(75)
    ending.finish()
  })

  test.each([
    ['first directly', [true, false]],
    ['first by the launcher', [false, true]],
  ] as const)('that comes by the launcher as well is one request, %s', (_, ways) => {
    const { ending, parts } = watched()
    ending.acceptSignals(10_000, () => undefined)
    const byLauncher = parts.watchStarter.mock.calls[0]?.[0]
    for (const direct of ways) {
      if (direct) interrupt()
      else byLauncher?.()
    }
    expect(ending.signal.aborted).toBe(true)
    expect(parts.exit).not.toHaveBeenCalled()
    byLauncher?.()
    expect(parts.exit).toHaveBeenCalledExactlyOnceWith(75)
    ending.finish()
  })

  test('ends at once after a fatal error, with the code of the error', () => {
    const { ending, parts } = watched()
    ending.acceptSignals(10_000, () => undefined)
    ending.fatal(full)
    interrupt()
    expect(parts.exit).toHaveBeenCalledExactlyOnceWith(74)
    ending.finish()
  })

  test('starts a stop that ends, also where parts hang', async () => {
    vi.useFakeTimers()
    const { ending, parts } = watched()
    ending.acceptSignals(10_000, () => undefined)
    interrupt()
    await vi.advanceTimersByTimeAsync(20_000)
    expect(parts.exit).toHaveBeenCalledExactlyOnceWith(75)
    ending.finish()
    vi.useRealTimers()
  })

  test('is given back when the server has ended', () => {
    const before = process.listenerCount('SIGTERM')
    const { ending } = watched()
    ending.acceptSignals(10_000, () => undefined)
    ending.finish()
    expect(process.listenerCount('SIGTERM')).toBe(before)
  })
})

describe('a fault of the machine', () => {
  test.each([
    ['ENOSPC: no space left on device, write', 'the disk is full'],
    ['database or disk is full', 'the disk is full'],
    ['EIO: i/o error, fdatasync', 'the disk reports an error'],
    ['disk I/O error', 'the disk reports an error'],
    ['EMFILE: too many open files, open', 'there are no file descriptors left'],
    ['EROFS: read-only file system, open', 'the file system is read-only'],
    ['ENOENT: no such file or directory, open', 'files of the data folder are gone'],
    [
      '/srv/x/state.db of the data folder was removed or replaced',
      'files of the data folder are gone',
    ],
    ['database disk image is malformed', 'a database is damaged'],
    ['database is locked', 'another process holds a database'],
  ])('%s comes with a next step', (text, means) => {
    const failure = brokenFailure({ what: 'the ledger cannot record', dataDir }, new Error(text))
    expect(failure.exit).toBe('broken')
    expect(failure.message).toBe(`the ledger cannot record: ${means} (${text})`)
    expect(failure.next).not.toBe('')
  })

  test('is found behind the error that reports it', () => {
    const cause = new Error('the channel store failed', { cause: new Error('disk I/O error') })
    expect(brokenFailure({ what: 'the channels cannot be kept', dataDir }, cause).next).toContain(
      'look at the disk',
    )
  })

  test.each([
    'another process has the record of used values open; to run several on one data folder, …',
    'another data folder has the log of slot b',
  ])('is not blamed where a fabric runs already: %s', (text) => {
    expect(machineFailure('unreachable', { what: 'y', dataDir }, new Error(text))).toBeNull()
  })

  test('is not blamed for an error of ours, which keeps its stack', () => {
    const error = new TypeError('x is not a function')
    expect(machineFailure('broken', { what: 'y', dataDir }, error)).toBeNull()
    expect(brokenFailure({ what: 'y', dataDir }, error).message).toContain('ending.test.ts')
  })
})
