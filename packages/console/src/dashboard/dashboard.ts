import {
  type AgentView,
  type ApprovalView,
  type EdgeView,
  type EntryView,
  legible,
  legibleValue,
  MalformedError,
  parseSpiffeId,
} from '@countersign/protocol'
import { formatTook, formatUtc } from '../times.ts'
import { type Decision, mergeDecision } from './decisions.ts'
import { ask, CursorLost, NotAdmitted, watch } from './fabric.ts'

/** Rows that are kept while decisions come; older ones are in the ledger. */
const decisionsMax = 200
/** Rows of one page of the ledger, and the most that a reader pages back to. */
const pageRows = 100
const pagedMax = 1_000
/** As many of the oldest as a person decides on in one sitting. */
const approvalsMax = 50
/** Reading the list is an exchange like any other and goes on record, so it is not read idly. */
const agentsEveryMs = 300_000
/** Likewise; a quiet fabric has the same edges as before, and they are not read again. */
const edgesEveryMs = 30_000
/** The busiest ones. */
const edgesMax = 20
const retryMs = 2_000
const keySlot = 'countersign-key'

const element = (id: string): HTMLElement => {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has lost ${id}`)
  return found
}

let decisions: readonly Decision[] = []
let rowsMax = decisionsMax
/** The cursor of the page before the oldest row; null without any, or once rows were left out. */
let older: string | null = null
/** The exchange whose row is open. */
let opened: string | null = null

/**
 * The key in the fragment of a link, as `countersign console` prints it; no server ever receives
 * it. Any page can link here with a key of its own, so that what the operator then does is done
 * under another principal: such a key is only proposed, and never replaces the one that this tab
 * holds.
 */
function takeProposedKey(): string | null {
  const proposed = new URLSearchParams(location.hash.slice(1)).get('key')
  if (location.hash !== '') history.replaceState(null, '', location.pathname)
  return proposed
}

function propose(key: string): void {
  const input = element('key') as HTMLInputElement
  input.value = key
  element('sign-in-linked').hidden = false
  signIn('')
}

function signIn(fault: string): void {
  sessionStorage.removeItem(keySlot)
  element('main').hidden = true
  element('sign-out').hidden = true
  element('sign-in').hidden = false
  element('sign-in-fault').textContent = fault
}

async function open(key: string): Promise<void> {
  try {
    await showStatus(key)
    await showAgents(key)
    await showApprovals(key)
    await showEdges(key)
    const recent = await ask(key, 'ledger.recent', { countMax: pageRows })
    older = recent.older
    for (const exchange of recent.exchanges.toReversed()) take(exchange)
    element('older').onclick = () => void showOlder(key).catch(() => undefined)
    element('sign-in').hidden = true
    element('main').hidden = false
    element('sign-out').hidden = false
    setInterval(() => void showAgents(key).catch(() => undefined), agentsEveryMs)
    setInterval(() => void showNewEdges(key).catch(() => undefined), edgesEveryMs)
    await follow(key, recent.newer)
  } catch (fault) {
    if (fault instanceof NotAdmitted) signIn('The fabric did not accept this key.')
    else if (fault instanceof MalformedError) signIn(`${otherVersion} (${fault.message})`)
    else signIn(`The fabric could not be reached: ${String(fault)}`)
  }
}

/** The fabric was replaced by another version while its page stayed open. */
const otherVersion = 'This page cannot read the answers of the fabric. Reload it.'

/** Goes on after the last entry that it has seen, so that a lost connection loses no decision. */
async function follow(key: string, from: string): Promise<void> {
  let after = from
  for (;;) {
    try {
      live('on', 'live')
      await watch(key, after, (entry) => {
        after = entry.cursor
        take(entry)
        hasNewEdges ||= changesEdges(entry)
        if (changesAgents(entry)) void showAgents(key).catch(() => undefined)
        if (changesApprovals(entry)) void showApprovals(key).catch(() => undefined)
      })
    } catch (fault) {
      if (fault instanceof NotAdmitted || fault instanceof MalformedError) throw fault
      if (fault instanceof CursorLost) location.reload()
    }
    live('off', 'reconnecting')
    await new Promise((resolve) => setTimeout(resolve, retryMs))
  }
}

/** Reports whether an entry records a change that the list of agents would show. */
function changesAgents({ kind, facts }: EntryView): boolean {
  if (kind === 'lifecycle') return true
  return (
    kind === 'intent' &&
    /^agent\.(?:quarantine|restore|revoke|enroll)$/.test(String(facts['operation']))
  )
}

/** The approvals that the list shows: each repeat of a call names one that is known already. */
let waiting: ReadonlySet<string> = new Set()

/** Reports whether an entry names a new request, decides on one, or uses one up. */
function changesApprovals({ kind, facts }: EntryView): boolean {
  const id = facts['approval.id']
  if (typeof id !== 'string') return false
  return kind === 'refusal' ? facts['code'] === 'APPROVAL_PENDING' && !waiting.has(id) : true
}

/** Shown alone when there are some. A decision is made by the command line, with a reason. */
async function showApprovals(key: string): Promise<void> {
  const all = await ask(key, 'approval.list', {})
  const pending = all.filter(({ state }) => state === 'pending')
  waiting = new Set(pending.map(({ id }) => id))
  element('approvals').replaceChildren(...pending.slice(0, approvalsMax).map(approvalRow))
  element('approvals-section').hidden = pending.length === 0
}

function approvalRow(approval: ApprovalView): HTMLElement {
  const { id, caller, user, receiver, operation, tool, reason } = approval
  const row = document.createElement('li')
  const what = text('small', '', legible(tool === '' ? operation : tool))
  const command = text('small', '', '')
  command.append(text('code', '', `countersign approval show ${id}`))
  row.append(
    text(
      'b',
      '',
      `${nameOf(caller)}${user === null ? '' : ` for ${nameOf(user)}`} → ${nameOf(receiver)}`,
    ),
    ...[what, text('small', 'warn', legibleValue(reason)), command],
  )
  return row
}

const nameOf = (spiffeId: string): string => parseSpiffeId(spiffeId)?.name ?? legibleValue(spiffeId)

/** An exchange has ended since the edges were read. */
let hasNewEdges = false

/** Not of administration, such as the reads of this page. */
function changesEdges({ exchange, ended }: EntryView): boolean {
  if (ended === null) return false
  const decision = decisions.find((each) => each.exchange === exchange)
  return decision !== undefined && decision.receiver !== 'fabric'
}

async function showNewEdges(key: string): Promise<void> {
  if (hasNewEdges) await showEdges(key)
}

async function showEdges(key: string): Promise<void> {
  hasNewEdges = false
  const { edges } = await ask(key, 'activity.show', { window: 'hour', countMax: edgesMax })
  element('edges').replaceChildren(...edges.map(edgeRow))
  element('edges-section').hidden = edges.length === 0
}

function edgeRow({ caller, kind, receiver, exchanges, latency, ...edge }: EdgeView): HTMLElement {
  const row = document.createElement('li')
  const to = kind === 'channel' ? `#${receiver}` : receiver
  const rate = edge.perMinute < 0.05 ? '' : ` · ${edge.perMinute.toFixed(1)} a minute`
  const facts = [`${exchanges} ${exchanges === 1 ? 'exchange' : 'exchanges'}${rate}`]
  if (latency !== null)
    facts.push(`p50 ${formatTook(latency.p50)} · p95 ${formatTook(latency.p95)}`)
  row.append(text('b', '', `${legibleValue(caller)} → ${legibleValue(to)}`))
  for (const fact of facts) row.append(text('small', '', fact))
  const bad = (['refused', 'failed', 'unknown'] as const).filter((name) => edge[name] > 0)
  if (bad.length > 0) {
    row.append(text('small', 'bad', bad.map((name) => `${edge[name]} ${name}`).join(' · ')))
  }
  return row
}

function live(state: 'on' | 'off', text: string): void {
  element('live').className = `live ${state}`
  element('live').textContent = text
}

async function showStatus(key: string): Promise<void> {
  const status = await ask(key, 'status', {})
  element('status').textContent =
    `${status.trustDomain} · version ${status.version} · log slot ${status.ledger.slot} · ${status.ledger.size} entries`
}

async function showAgents(key: string): Promise<void> {
  const agents = await ask(key, 'agent.list', {})
  element('agents').replaceChildren(
    ...(agents.length === 0 ? [text('li', 'none', 'No agent yet.')] : agents.map(agentRow)),
  )
}

function agentRow(agent: AgentView): HTMLElement {
  const row = document.createElement('li')
  const tone = agent.status === 'active' ? 'good' : 'bad'
  row.append(
    text('span', `status ${tone}`, agent.status),
    text('b', '', agent.name),
    text('small', '', [agent.kind, ...agent.roles, agent.segment].filter(Boolean).join(' · ')),
  )
  if (agent.statusReason !== '') row.append(text('small', 'bad', legibleValue(agent.statusReason)))
  if (agent.risk > 0) {
    const bar = document.createElement('div')
    bar.className = 'risk'
    bar.title = `risk ${Math.round(agent.risk)} of 100`
    const filled = document.createElement('i')
    filled.style.width = `${Math.min(100, agent.risk)}%`
    bar.append(filled)
    row.append(bar)
  }
  return row
}

function take(entry: EntryView): void {
  const all = mergeDecision(decisions, entry)
  // Rows that are left out would be missing between the table and its next page.
  if (all.length > rowsMax) older = null
  decisions = all.slice(0, rowsMax)
  element('older').hidden = older === null
  showDecisions()
}

/** Adds the page of the ledger before the oldest row. */
async function showOlder(key: string): Promise<void> {
  if (older === null) return
  const page = await ask(key, 'ledger.recent', { before: older, countMax: pageRows })
  rowsMax = Math.min(pagedMax, rowsMax + page.exchanges.length)
  older = page.older
  for (const exchange of page.exchanges) take(exchange)
  element('older').hidden = older === null
}

/**
 * Administration that went well is most of what a quiet fabric does, and least of what it is for.
 * New rows wait while the operator selects text of the table, because they would end the selection.
 */
function showDecisions(): void {
  if (isSelecting()) return
  const all = (element('administration') as HTMLInputElement).checked
  const shown = decisions.filter(
    ({ receiver, tone }) => all || receiver !== 'fabric' || tone === 'bad',
  )
  const focused = document.activeElement?.id
  element('decisions').replaceChildren(...shown.flatMap(decisionRows))
  if (focused?.startsWith('exc_') === true) document.getElementById(focused)?.focus()
}

function isSelecting(): boolean {
  const selection = document.getSelection()
  if (selection === null || selection.isCollapsed) return false
  return element('decisions').contains(selection.anchorNode)
}

function decisionRows(decision: Decision): readonly HTMLElement[] {
  const row = decisionRow(decision)
  return decision.exchange === opened ? [row, detailsRow(decision)] : [row]
}

function decisionRow(decision: Decision): HTMLElement {
  const isOpened = decision.exchange === opened
  const row = text('tr', isOpened ? 'decision opened' : 'decision', '')
  row.id = decision.exchange
  row.tabIndex = 0
  row.setAttribute('aria-expanded', String(isOpened))
  const outcome = text('td', decision.tone, legibleValue(decision.outcome))
  if (decision.tookMs !== null) outcome.append(text('small', '', ` ${formatTook(decision.tookMs)}`))
  if (decision.masked !== '') outcome.append(text('small', 'warn', ` masked ${decision.masked}`))
  const exchange = text('td', 'exchange', '')
  exchange.append(text('code', '', decision.exchange))
  row.append(
    timeCell(decision.at),
    text('td', '', legibleValue(decision.caller)),
    text('td', '', legibleValue(decision.receiver)),
    text('td', 'what', legible(decision.operation)),
    text('td', 'wide', decision.transport),
    outcome,
    text('td', '', legibleValue(decision.recordedBy)),
    exchange,
  )
  const toggle = () => {
    opened = isOpened ? null : decision.exchange
    showDecisions()
  }
  // A click that selects the id selects, and does not open.
  row.addEventListener('click', () => isSelecting() || toggle())
  row.addEventListener('keydown', ({ key }) => key === 'Enter' && toggle())
  return row
}

/** Breaks, if it has to, between the date and the time. */
function timeCell(at: number): HTMLElement {
  const [date = '', ...time] = formatUtc(at).split(' ')
  const cell = text('td', 'time', '')
  cell.append(text('span', '', date), ' ', text('span', '', time.join(' ')))
  return cell
}

/** The commands that continue from here, with the whole id to copy. */
function detailsRow({ exchange, transport }: Decision): HTMLElement {
  const list = document.createElement('dl')
  const facts = [
    ['Exchange', exchange],
    ['Transport', transport],
    ['Decision', `countersign explain ${exchange}`],
    ['Receipt', `countersign receipt ${exchange} --out call.receipt`],
  ] as const
  for (const [name, value] of facts) {
    const held = text('dd', '', '')
    held.append(text('code', '', value))
    list.append(text('dt', '', name), held)
  }
  const cell = document.createElement('td')
  cell.colSpan = columns
  cell.append(list)
  const row = text('tr', 'details', '')
  row.append(cell)
  return row
}

const columns = 8

/** Always as text: names and operations come from agents, and an agent may be hostile. */
function text(tag: string, className: string, content: string): HTMLElement {
  const made = document.createElement(tag)
  made.className = className
  made.textContent = content
  return made
}

element('administration').addEventListener('change', showDecisions)

let wasSelecting = false
document.addEventListener('selectionchange', () => {
  const ended = wasSelecting && !isSelecting()
  wasSelecting = isSelecting()
  if (ended) showDecisions()
})

element('sign-in').addEventListener('submit', (event) => {
  event.preventDefault()
  const { value } = element('key') as HTMLInputElement
  sessionStorage.setItem(keySlot, value.trim())
  void open(value.trim())
})

element('sign-out').addEventListener('click', () => {
  sessionStorage.removeItem(keySlot)
  location.reload()
})

// A link followed in this tab changes the fragment alone, and loads nothing.
addEventListener('hashchange', () => {
  const proposed = takeProposedKey()
  if (proposed !== null && sessionStorage.getItem(keySlot) === null) propose(proposed)
})

const proposed = takeProposedKey()
const held = sessionStorage.getItem(keySlot)
if (held !== null) void open(held)
else if (proposed === null) signIn('')
else propose(proposed)
