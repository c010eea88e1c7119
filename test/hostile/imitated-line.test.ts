import { quotedUnlessWord, verifyReceipt } from '@countersign/protocol'
import fc from 'fast-check'
import { expect } from 'vitest'
import { reportVerified } from '../../packages/console/src/verify/report.ts'
import {
  ENTRY_COLUMNS,
  type EntryView,
  entryRow,
} from '../../packages/fabric/src/cli/entry-view.ts'
import { type Explained, explain } from '../../packages/fabric/src/cli/explain.ts'
import { createTerminal } from '../../packages/fabric/src/cli/output/terminal.ts'
import { agentId, send } from '../harness/doors.ts'
import { indexesOf, meshEntry, record } from '../harness/entries.ts'
import { lie } from '../harness/lie.ts'
import { refusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const screen = { isTTY: true, columns: 80, write: () => undefined }
const clock = { now: () => 0, monotonic: () => 0 }
const terminal = createTerminal({ stdout: screen, stderr: screen, colours: false, clock })

/** What a terminal or a page would not show as itself, or would take for the layout around it. */
const blank = '  '
const disguises = [
  `pay${blank}operator${blank}fabric${blank}delivered`,
  ' pay',
  'pay ',
  'pay\nverified',
  'pay\rverified',
  'pay\u001b[2K',
  'pay\u202edereviled',
  'pay\u200b',
  'pay\u3164',
  'pay\u2800',
  'pay\u00a0\u00a0delivered',
  'pay\u2028verified',
  'pay\u0301\u0301\u0301\u0301\u0301',
  'pay\ufe0f',
  'pay\u{e0041}',
]

const call = (name: string) =>
  refusedOnBoth('MESSAGE_MALFORMED', () => ({
    to: 'mcp',
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name } }),
  }))
const calls = disguises.map((name) => ({ name: JSON.stringify(name), told: call(name) }))

const hidden = /\p{Cc}|\p{Cf}|[\u2028\u2029\u3164\u2800]|\ufe0f/u

lie(verifies(['record:legible'], 'no name or detail imitates another line'), {
  gateway: Object.fromEntries(calls.map(({ name, told }) => [`a tool ${name}`, told.gateway])),
  mesh: {
    ...Object.fromEntries(calls.map(({ name, told }) => [`a tool ${name}`, told.mesh])),
    'an operation or a tool in an entry': async (world) => {
      for (const name of disguises) {
        const bad = [{ operation: name }, { tool: name }].map((facts) => meshEntry({ facts }))
        expect(await indexesOf(world, [...bad, meshEntry()])).toEqual([
          ...[null, null],
          expect.any(Number),
        ])
      }
    },
    'an operation of a connector that is not the name of a method': async (world) => {
      const imitations = [
        'agent.revoke billing because "leaked key"',
        'agent.revoke',
        'tools/call, signed by the caller',
        'tools/call signed',
        'tools/call”',
        'tools/',
        '/call',
        '',
        'x'.repeat(257),
      ]
      for (const operation of imitations) {
        const bad = meshEntry({ facts: { operation } })
        expect(await indexesOf(world, [bad, meshEntry()])).toEqual([null, expect.any(Number)])
      }
    },
    'a tool that reads as our words is quoted, in every view': async (world) => {
      for (const tool of [
        'wire-transfer, signed by the caller',
        'billing because "leaked key"',
        'pay”, signed by the caller, “x',
        '"pay", says the fabric',
      ]) {
        const facts = { protocol: 'mcp', operation: 'tools/call', tool }
        const entry = meshEntry({ facts })
        const { exchange } = entry
        for (const each of [entry, meshEntry({ exchange, kind: 'outcome' })]) {
          expect(await indexesOf(world, [each])).toEqual([expect.any(Number)])
        }
        const { entries } = (await world.admin('policy.explain', { exchange })) as Explained
        const shown = quotedUnlessWord(tool)
        expect(shown.replaceAll('\\"', '').slice(1, -1)).not.toMatch(/["“”]/)
        expect(entries.map((each: EntryView) => entryRow(each)[6])).toContainEqual({
          phrase: `tools/call ${shown}`,
        })
        const path = `/v1/receipts/${exchange}`
        const kept = await send(world.control, { method: 'GET', path, body: null })
        const verified = await verifyReceipt(new Uint8Array(kept.body), world.caller.trust)
        const { sentence, sections } = reportVerified(verified)
        const lines = sections.flatMap(({ lines }) => lines)
        const byThief = `says the connector of ${agentId('thief')}`
        expect(lines).toContainEqual({ label: 'Tool', value: `${shown}, ${byThief}` })
        expect(sentence).toContain(byThief)
      }
    },
    'a detail in an entry is shown in one line': async (world) => {
      const text = fc.oneof(
        fc.constantFrom(...disguises),
        fc.string({ unit: 'binary', maxLength: 60 }).map((words) => words.toWellFormed()),
      )
      await fc.assert(
        fc.asyncProperty(text, async (detail) => {
          const entry = meshEntry({ kind: 'refusal', facts: { 'private.detail': detail } })
          expect((await record(world, [entry])).status).toBe(200)
          const asked = { exchange: entry.exchange }
          const explained = (await world.admin('policy.explain', asked)) as Explained
          const lines = explain(explained, terminal).split('\n')
          expect(lines.filter((line) => hidden.test(line))).toEqual([])
          expect(lines.filter((line) => /^(?:verified|ended {5}delivered)/.test(line))).toEqual([])
          const rows = explained.entries.map((each: EntryView) => entryRow(each))
          const table = terminal.table({ columns: ENTRY_COLUMNS, rows }).split('\n')
          expect(table).toHaveLength(2)
        }),
        { numRuns: 25 },
      )
    },
  },
  queue: 'the names of channels have a syntax of their own',
})
