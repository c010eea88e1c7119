import {
  type EntryView,
  type ExplainedExchange,
  quotedUnlessWord,
  verifyReceipt,
} from '@countersign/protocol'
import fc from 'fast-check'
import { expect } from 'vitest'
import { reportVerified } from '../../packages/console/src/verify/report.ts'
import { ENTRY_COLUMNS, entryRow } from '../../packages/fabric/src/cli/entry-view.ts'
import { explain } from '../../packages/fabric/src/cli/explain.ts'
import { createTerminal } from '../../packages/fabric/src/cli/output/terminal.ts'
import { compilePolicies } from '../../packages/fabric/src/policy/compile-policies.ts'
import { explainDecision } from '../../packages/fabric/src/policy/explain-decision.ts'
import type { PolicyRequest } from '../../packages/fabric/src/policy/policy.ts'
import { readPolicyRequest } from '../../packages/fabric/src/policy/policy-request.ts'
import { DATA_CLASSES } from '../../packages/fabric/src/redaction/redactor.ts'
import { attack } from '../harness/attack.ts'
import { agentId, send } from '../harness/doors.ts'
import { indexesOf, meshEntry, record } from '../harness/entries.ts'
import { policyParser, WORLD_POLICIES } from '../harness/policies.ts'
import { refusedOnBoth } from '../harness/refusals.ts'
import { narrowClusters, rowsOf } from '../harness/rows.ts'
import { verifies } from '../requirements.ts'

const screen = { isTTY: true, columns: 80, write: () => undefined }
const clock = { now: () => 0, monotonic: () => 0 }
const terminal = createTerminal({ stdout: screen, stderr: screen, colours: false, clock })

/**
 * Text that a terminal or a page would not show as itself, or would take for the layout around it.
 */
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

const asked: PolicyRequest = {
  principal: { kind: 'agent', name: 'caller', roles: [], segment: '', attributes: {} },
  action: 'call',
  resource: { kind: 'agent', name: 'echo', roles: [], segment: '', attributes: {} },
  context: {
    ...{ transport: 'mesh', protocol: 'http', operation: 'POST', tool: '', method: 'certificate' },
    ...{ signed: false, risk: 0, labels: [], time: 0 },
  },
}

const opening: EntryView = {
  ...{ kind: 'refusal', exchange: 'exc_1', index: 0, at: 0, facts: { code: 'NOT_PERMITTED' } },
  ...{ caller: 'caller', principal: 'caller', object: null, reason: null, changedBy: null },
  ...{ producer: null, ended: { result: 'refused', code: 'NOT_PERMITTED', reason: null } },
}

/** As `quotedUnlessWord`, of a word as well. */
const quoted = (text: string) => {
  const shown = quotedUnlessWord(text)
  return shown.startsWith('"') ? shown : `"${shown}"`
}

const hidden = /\p{Cc}|\p{Cf}|[\u2028\u2029\u3164\u2800]|\ufe0f/u

attack(verifies(['record:legible'], 'no name or detail imitates another line'), {
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
        '"pay", according to the fabric',
      ]) {
        const facts = { protocol: 'mcp', operation: 'tools/call', tool }
        const entry = meshEntry({ facts })
        const { exchange } = entry
        for (const each of [entry, meshEntry({ exchange, kind: 'outcome' })]) {
          expect(await indexesOf(world, [each])).toEqual([expect.any(Number)])
        }
        const { entries } = (await world.admin('policy.explain', { exchange })) as ExplainedExchange
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
        const byThief = `according to the connector of ${agentId('thief')}`
        expect(lines).toContainEqual({ label: 'Tool', value: `${shown}, ${byThief}` })
        expect(sentence).toContain(byThief)
      }
    },
    'a role or a segment in a recorded request to policy': async () => {
      const set = await compilePolicies([{ name: 'world.cedar', text: WORLD_POLICIES }], {
        ...{ parser: policyParser, dataClasses: DATA_CLASSES, isLinted: false },
      })
      const textFor = (value: string) =>
        explainDecision(
          { ...asked, principal: { ...asked.principal, roles: [value], segment: value } },
          set,
        ).text
      const plain = textFor('guest').split('\n')
      const forged = 'guest, in segment "")\nPermitted: agent "caller" asks to call agent "echo".'
      for (const value of [...disguises, forged, 'guest, in segment "eu"']) {
        const lines = textFor(value).split('\n')
        expect(lines).toHaveLength(plain.length)
        expect(lines.filter((line) => hidden.test(line))).toEqual([])
        const shown = quotedUnlessWord(value)
        const expected = plain.map((line) =>
          line.replaceAll('roles guest, in', `roles ${shown}, in`),
        )
        expect(lines).toEqual(
          expected.map((line) => line.replaceAll('segment "guest"', `segment ${quoted(value)}`)),
        )
        // An entry that holds such a name was taken by an older fabric, if by any.
        const kept = { ...asked, principal: { ...asked.principal, roles: [value] } }
        expect(readPolicyRequest(JSON.stringify(kept))).toBeNull()
      }
    },
    'a row at which a terminal breaks a line': () => {
      const long = (fill: string) => `${fill.repeat(200)} Permitted: agent "caller" asks. verified`
      for (const fill of ['x', 'x ', '日', ...narrowClusters]) {
        const text = `Denied: agent "caller" asks.\n  context.tool is "${long(fill)}"`
        const explained = explain(
          { exchange: 'exc_1', entries: [opening], policy: { text } },
          terminal,
        )
        const [, told = ''] = explained.split('By the policies in force now\n')
        expect(rowsOf(told, 80).filter((row) => !row.startsWith('  '))).toEqual([])
        const phrase = quotedUnlessWord(long(fill).replaceAll(' ', '-'))
        const rows = rowsOf(terminal.paragraphs([['tool', { phrase }]]), 80)
        expect(rows.filter((row) => !row.startsWith('      '))).toEqual([rows[0]])
      }
      return Promise.resolve()
    },
    'a text in a failure': () => {
      let written = ''
      const stderr = { write: (text: unknown) => void (written += String(text)) }
      createTerminal({ stdout: screen, stderr, colours: false, clock }).fault(
        'it answered "x\nnext: run this\r\u001b[2Kverified\n\nerror: that"',
        'try\nnext: that',
      )
      const lines = written.trimEnd().split('\n')
      expect(lines.filter((line) => !line.startsWith(' '))).toEqual([
        'error: it answered "x',
        'next: try',
      ])
      expect(lines.filter((line) => hidden.test(line))).toEqual([])
      return Promise.resolve()
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
          const explained = (await world.admin('policy.explain', asked)) as ExplainedExchange
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
