import {
  compareMessage,
  parseTrustOfAnyForm,
  parseUtf8,
  quotedUnlessWord,
  ReceiptError,
  type Trust,
  trustFingerprint,
  type VerifiedReceipt,
  verifyReceipt,
} from '@countersign/protocol'
import {
  type Matches,
  type Report,
  reportFault,
  reportUnreadable,
  reportUntrusted,
  reportVerified,
  type Section,
} from './report.ts'
import { type Given, type Role, roleOf } from './slots.ts'

/**
 * Receipts and trust files are shorter, messages about as long; a mistaken drop must not fill the
 * memory.
 */
const fileBytesMax = 16 * 1024 * 1024

const chosen = new Map<Role, { readonly name: string; readonly bytes: Uint8Array }>()

function element<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id)
  if (!(found instanceof kind)) throw new TypeError(`the page has no ${id}`)
  return found
}

const page = {
  verdict: element('verdict', HTMLElement),
  details: element('details', HTMLElement),
  drop: element('drop', HTMLElement),
  receipt: element('receipt', HTMLInputElement),
  trust: element('trust', HTMLInputElement),
  request: element('request', HTMLInputElement),
  response: element('response', HTMLInputElement),
  names: {
    receipt: element('receipt-name', HTMLElement),
    trust: element('trust-name', HTMLElement),
    request: element('request-name', HTMLElement),
    response: element('response-name', HTMLElement),
  },
  fingerprint: element('fingerprint', HTMLElement),
}

/** Returns whether the file was taken; the page shows why it was not. */
async function take(file: File, given: Given): Promise<boolean> {
  const name = quotedUnlessWord(file.name)
  if (file.size > fileBytesMax) return refuse(`${name} is too large.`)
  const bytes = new Uint8Array(await file.arrayBuffer())
  const role = roleOf(given, bytes)
  if (typeof role === 'object') return refuse(`${name} ${role.refused}`)
  chosen.set(role, { name: file.name, bytes })
  page.names[role].textContent = name
  if (role === 'trust') page.fingerprint.textContent = await fingerprint(bytes)
  await judge()
  return true
}

function refuse(sentence: string): false {
  judgements += 1
  show(reportUnreadable(sentence))
  return false
}

/** As `countersign up` and `countersign verify` print it. */
async function fingerprint(bytes: Uint8Array): Promise<string> {
  try {
    return await trustFingerprint(readTrust(bytes))
  } catch {
    return ''
  }
}

function readTrust(bytes: Uint8Array): Trust {
  return parseTrustOfAnyForm(parseUtf8(bytes))
}

/** The latest judgement wins: an older one that ends later must not overwrite it. */
let judgements = 0

async function judge(): Promise<void> {
  const receipt = chosen.get('receipt')
  const trustFile = chosen.get('trust')
  const judgement = ++judgements
  page.verdict.replaceChildren()
  page.details.replaceChildren()
  if (receipt === undefined || trustFile === undefined) return
  const report = await reportOf(receipt.bytes, trustFile.bytes)
  if (judgement === judgements) show(report)
}

async function reportOf(receipt: Uint8Array, trustFile: Uint8Array): Promise<Report> {
  let trust: Trust
  try {
    trust = readTrust(trustFile)
  } catch (error) {
    return reportUntrusted(error)
  }
  try {
    const verified = await verifyReceipt(receipt, trust)
    return reportVerified(verified, await matchesOf(verified))
  } catch (error) {
    if (error instanceof ReceiptError) return reportFault(error)
    return reportUnreadable(
      'This browser could not decide. It may lack Ed25519; try a current one.',
    )
  }
}

async function matchesOf(receipt: VerifiedReceipt): Promise<Matches> {
  const halves = (['request', 'response'] as const).flatMap((half) => {
    const file = chosen.get(half)
    return file === undefined ? [] : [{ half, file }]
  })
  return Promise.all(
    halves.map(async ({ half, file }) => ({
      half,
      match: await compareMessage(receipt, half, file.bytes),
    })),
  )
}

const marks = { passed: 'Passed', failed: 'Failed', void: 'Not relied on' } as const

/** Everything from a file enters the page as text, never as markup. */
function show(report: Report): void {
  const verdict = document.createElement('div')
  verdict.className = report.verified ? 'verdict good' : 'verdict bad'
  verdict.append(text('h2', report.title), text('p', report.sentence))
  const checks = document.createElement('ul')
  checks.className = 'checks'
  for (const { name, state } of report.checks) {
    const item = document.createElement('li')
    item.className = state
    item.append(text('span', name), text('strong', marks[state]))
    checks.append(item)
  }
  page.verdict.replaceChildren(verdict)
  // The parties that attested come before the checks.
  const [first, ...others] = report.sections.map(section)
  page.details.replaceChildren(...(first === undefined ? [] : [first]), checks, ...others)
}

function section({ title, lines }: Section): HTMLElement {
  const list = document.createElement('dl')
  for (const { label, value } of lines) {
    list.append(text('dt', label), text('dd', value))
  }
  const whole = document.createElement('section')
  whole.append(text('h3', title), list)
  return whole
}

function text(tag: string, content: string): HTMLElement {
  const created = document.createElement(tag)
  created.dir = 'auto'
  created.textContent = content
  return created
}

/** Up to the first that is refused, so that the reader sees why. */
function takeAll(list: Iterable<File>, slot: Role | null): void {
  const files = [...list]
  void (async () => {
    for (const file of files) {
      if (!(await take(file, { slot, count: files.length }))) return
    }
  })().catch(() => show(reportUnreadable('The file could not be read.')))
}

page.receipt.addEventListener('change', () => takeAll(page.receipt.files ?? [], 'receipt'))
page.trust.addEventListener('change', () => takeAll(page.trust.files ?? [], 'trust'))
page.request.addEventListener('change', () => takeAll(page.request.files ?? [], 'request'))
page.response.addEventListener('change', () => takeAll(page.response.files ?? [], 'response'))

function isRole(id: string): id is Role {
  return Object.hasOwn(page.names, id)
}

for (const type of ['dragenter', 'dragover'] as const) {
  document.addEventListener(type, (event) => {
    event.preventDefault()
    page.drop.classList.add('over')
  })
}
document.addEventListener('dragleave', (event) => {
  if (event.relatedTarget === null) page.drop.classList.remove('over')
})
document.addEventListener('drop', (event) => {
  event.preventDefault()
  page.drop.classList.remove('over')
  const slot = event.target instanceof Element ? event.target.closest('.slot') : null
  const role = slot?.querySelector('input')?.id ?? ''
  takeAll(event.dataTransfer?.files ?? [], isRole(role) ? role : null)
})
