import {
  type AgentView,
  type EntryView,
  legible,
  legibleValue,
  MalformedError,
} from '@countersign/protocol'
import { type Decision, mergeDecision } from './decisions.ts'
import { ask, NotAdmitted, watch } from './fabric.ts'

/** As many rows as a person scrolls; older decisions are in the ledger. */
const decisionsMax = 200
/** Reading the list is an exchange like any other and goes on record, so it is not read idly. */
const agentsEveryMs = 300_000
const retryMs = 2_000
const keySlot = 'countersign-key'

const element = (id: string): HTMLElement => {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has lost ${id}`)
  return found
}

let decisions: readonly Decision[] = []

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
    const recent = await ask(key, 'ledger.recent', { countMax: 100 })
    for (const entry of [...recent].reverse()) take(entry)
    element('sign-in').hidden = true
    element('main').hidden = false
    element('sign-out').hidden = false
    setInterval(() => void showAgents(key).catch(() => undefined), agentsEveryMs)
    await follow(key)
  } catch (fault) {
    if (fault instanceof NotAdmitted) signIn('The fabric did not accept this key.')
    else if (fault instanceof MalformedError) signIn(`${otherVersion} (${fault.message})`)
    else signIn(`The fabric could not be reached: ${String(fault)}`)
  }
}

/** The fabric was replaced by another version while its page stayed open. */
const otherVersion = 'This page cannot read the answers of the fabric. Reload it.'

async function follow(key: string): Promise<void> {
  for (;;) {
    try {
      live('on', 'live')
      await watch(key, (entry) => {
        take(entry)
        if (changesAgents(entry)) void showAgents(key).catch(() => undefined)
      })
    } catch (fault) {
      if (fault instanceof NotAdmitted || fault instanceof MalformedError) throw fault
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

function live(state: 'on' | 'off', text: string): void {
  element('live').className = `live ${state}`
  element('live').textContent = text
}

async function showStatus(key: string): Promise<void> {
  const status = await ask(key, 'status', {})
  element('status').textContent =
    `${status.trustDomain} · version ${status.version} · ${status.ledger.size} entries`
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
  decisions = mergeDecision(decisions, entry).slice(0, decisionsMax)
  showDecisions()
}

/**
 * Administration that went well is most of what a quiet fabric does, and least of what it is for.
 */
function showDecisions(): void {
  const all = (element('administration') as HTMLInputElement).checked
  const shown = decisions.filter(
    ({ receiver, tone }) => all || receiver !== 'fabric' || tone === 'bad',
  )
  element('decisions').replaceChildren(...shown.map(decisionRow))
}

function decisionRow(decision: Decision): HTMLElement {
  const row = document.createElement('tr')
  const time = new Date(decision.at).toLocaleTimeString()
  const outcome = text('td', decision.tone, legibleValue(decision.outcome))
  if (decision.masked !== '') outcome.append(text('small', 'warn', ` masked ${decision.masked}`))
  const exchange = text('td', 'wide', '')
  const id = text('code', '', `${decision.exchange.slice(0, 16)}…`)
  id.title = decision.exchange
  exchange.append(id)
  row.append(
    text('td', 'time', time),
    text('td', '', legibleValue(decision.caller)),
    text('td', '', legibleValue(decision.receiver)),
    text('td', '', legible(decision.operation)),
    text('td', 'wide', decision.transport),
    outcome,
    text('td', '', legibleValue(decision.recordedBy)),
    exchange,
  )
  return row
}

/** Always as text: names and operations come from agents, and an agent may be hostile. */
function text(tag: string, className: string, content: string): HTMLElement {
  const made = document.createElement(tag)
  made.className = className
  made.textContent = content
  return made
}

element('administration').addEventListener('change', showDecisions)

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
