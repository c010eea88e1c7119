import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EXIT_CODES } from '../../packages/fabric/src/cli/exit-codes.ts'
import { read, root } from '../tidy/source.ts'
import { formatFaults } from './document.ts'
import { connectorFaults, runFaults, startFaults } from './table.ts'

const faults = [...startFaults, ...runFaults, ...connectorFaults]

test('the documented faults are those that are tested', async () => {
  await expect(formatFaults()).toMatchFileSnapshot(join(root, 'docs/operate/faults.md'))
})

test('at least thirty faults are tested, each under a name of its own', () => {
  const names = faults.map(({ fault }) => fault)
  expect(names.length).toBeGreaterThanOrEqual(30)
  expect(names).toEqual([...new Set(names)])
})

test('each exit code of a fault is a documented one, for commands and for supervisors', () => {
  const used = [...new Set(faults.map(({ ends }) => ends))].filter((end) => typeof end === 'number')
  const known: readonly number[] = EXIT_CODES.map(({ code }) => code)
  expect(used.filter((code) => !known.includes(code))).toEqual([])
  const recover = read('docs/operate/recover.md')
  expect(used.filter((code) => !recover.includes(`\n| ${code} |`))).toEqual([])
})
