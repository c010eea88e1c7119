import {
  describeEnding,
  type EntryView,
  type ExplainedExchange,
  isRefusalCode,
  quotedUnlessWord,
  REFUSALS,
} from '@countersign/protocol'
import { receiverOf, recorderOf, resultOf, styleOfResult } from './entry-view.ts'
import { formatTime } from './output/quantities.ts'
import type { Cell } from './output/table.ts'
import type { Terminal } from './output/terminal.ts'

/** Facts that stand in the head line already, or that no person reads. */
const boring = /^(private\.request|request\.|response\.|transcript$|caller$|receiver$|operation$)/

/** One exchange for a person: what was asked, what became of it, which policy decided and why. */
export function explain(
  { exchange, entries, policy }: ExplainedExchange,
  terminal: Terminal,
): string {
  const { paint } = terminal
  const [opening] = entries
  const closing = entries.at(-1)
  if (opening === undefined || closing === undefined) return `${exchange} has no entries`
  const isLifecycle = opening.kind === 'lifecycle'
  const result = closing.ended === null ? stillOpen : resultOf(closing)
  const ended = ['ended', { text: result, style: styleOfResult(result) }] as const
  const head = terminal.facts([
    ['exchange', exchange],
    ['at', formatTime(opening.at)],
    ...aboutOf(opening),
    ...(isLifecycle ? [] : [ended]),
    ...recorderLines(entries),
    ...detailsOf(entries),
  ])
  if (isLifecycle) return head
  const parts = [head]
  if (closing.ended?.result === 'unobserved') parts.push(describeEnding(closing.ended))
  const code = closing.ended?.code
  if (isRefusalCode(code)) parts.push(`${paint('red', code)}: ${REFUSALS[code].says}`)
  if (policy === null) parts.push(undecided(entries))
  else
    parts.push(
      `${paint('bold', 'By the policies in force now')}\n${formatLines(policy.text, terminal)}`,
    )
  return parts.join('\n\n')
}

const stillOpen = 'still open'

/** A connector need not have asked policy, or can have left out what it decided. */
function undecided(entries: readonly EntryView[]): string {
  const isOfFabric = entries.every((entry) => recorderOf(entry) === 'fabric')
  return isOfFabric
    ? 'It was decided before policy was asked.'
    : 'Its connector states no decision of policy.'
}

/**
 * Lists the parties that vouch for the entries: the fabric may close an exchange that a connector
 * opened.
 */
function recorderLines(entries: readonly EntryView[]): readonly Line[] {
  const names = [...new Set(entries.map(recorderOf))]
  const words = names.map((name) => (name === 'fabric' ? 'the fabric' : `the connector of ${name}`))
  return [['recorded by', words.join(', then ')]]
}

type Line = readonly [name: string, value: Cell]

/** A lifecycle entry is about a principal or an object, and does not record a request. */
function aboutOf(opening: EntryView): readonly Line[] {
  const { kind, facts, caller, principal, object, reason, changedBy } = opening
  const about: readonly Line[] = [
    ...(object === null ? [] : [['object', object] as const]),
    ...(reason === null ? [] : [['reason', reason] as const]),
    ...(changedBy === null ? [] : [['changed by', changedBy] as const]),
  ]
  if (kind === 'lifecycle') {
    const whom: readonly Line[] = principal === null ? [] : [['principal', principal]]
    return [['event', String(facts['event'] ?? '-')], ...whom, ...about]
  }
  const asked = [facts['protocol'], facts['operation'], facts['tool']]
    .filter(Boolean)
    .map((fact) => quotedUnlessWord(String(fact)))
  return [
    ['caller', caller ?? '(not authenticated)'],
    ['receiver', receiverOf(opening)],
    ['asked', { phrase: asked.join(' ') }],
    ...about,
  ]
}

function detailsOf(entries: readonly EntryView[]): readonly (readonly [string, string])[] {
  const details = entries.flatMap(({ facts }) =>
    Object.entries(facts)
      .filter(([name, value]) => !boring.test(name) && value !== '' && !headNames.has(name))
      .map(([name, value]) => [name.replace(/^private\./, ''), String(value)] as const),
  )
  // Both entries of an exchange repeat what they have in common.
  return [...new Map(details.map((detail) => [detail.join(' '), detail])).values()]
}

const headNames: ReadonlySet<string> = new Set([
  ...['protocol', 'tool', 'code', 'result'],
  ...['object', 'reason', 'event', 'changed-by'],
])

function formatLines(text: string, terminal: Terminal): string {
  return terminal.indented(text.replaceAll('\t', '  '))
}
