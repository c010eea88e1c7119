import { expect, test } from 'vitest'
import { fittingConnections, fittingExchanges, openFiles, openFilesMax } from './open-files.ts'

test('connections leave the files that the stores need', () => {
  expect(fittingConnections(4096, 1_048_576)).toBe(4096)
  expect(fittingConnections(4096, 1024)).toBe(448)
  expect(fittingConnections(4096, 64)).toBe(1)
  expect(fittingConnections(4096, null)).toBe(4096)
})

test('no caller takes all connections to receivers', () => {
  expect(fittingExchanges(8_192, 1_048_576)).toBe(8_192)
  expect(fittingExchanges(8_192, 1_024)).toBe(224)
  expect(fittingExchanges(100, 1_024)).toBe(100)
  expect(fittingExchanges(8_192, 64)).toBe(1)
  expect(fittingExchanges(8_192, null)).toBe(8_192)
})

test.runIf(process.platform === 'linux')(
  'the system reports how many files there are',
  async () => {
    expect(await openFilesMax()).toBeGreaterThan(0)
    expect(await openFiles()).toBeGreaterThan(2)
  },
)
