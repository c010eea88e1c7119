import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatTrust } from '@countersign/protocol'
import {
  type Agent,
  askControl,
  type Identity,
  openAgent,
  openIdentity,
  RefusedError,
} from '@countersign/sdk'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Fabric, openFabric } from '../../packages/fabric/src/compose/compose.ts'
import { parseConfig } from '../../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../../packages/fabric/src/config/read.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'

const executablePath = '/usr/bin/chromium'
const hasChromium = existsSync(executablePath)

/** A browser that connects only to loopback. */
const quietArguments = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

let dir = ''
let fabric: Fabric
let receiver: Server
let operator: Identity
let caller: Agent
let browser: Browser
let receipt: Uint8Array

const admin = async (operation: string, args: object = {}): Promise<Record<string, string>> => {
  const request = { method: 'POST', path: '/v1/admin', value: { operation, args } } as const
  const { result } = (await askControl(operator.connection, request)) as {
    result: Record<string, string>
  }
  return result
}

beforeAll(async () => {
  if (!hasChromium) return
  dir = mkdtempSync(join(tmpdir(), 'countersign-pages-'))
  const text = JSON.stringify({ masterKey: { from: 'key-file', path: join(dir, 'master.key') } })
  fabric = await openFabric({
    config: parseConfig({ path: 'test', text }, readEnvironment(), {
      dataDir: join(dir, 'data'),
      port: 0,
    }),
    clock: systemClock,
    random: systemRandom,
    log: () => undefined,
    onFatal: (reason, cause) => {
      throw new Error(reason, { cause })
    },
  })
  const order = { segment: '', attributes: {}, ttlSeconds: 900 }
  const people = { ...order, name: 'operator', kind: 'user', roles: ['operator'] } as const
  operator = await openIdentity({
    join: (await fabric.invite(people)).join,
    dir: join(dir, 'operator'),
    clock: systemClock,
    onFault: () => undefined,
  })
  receiver = createServer((_, response) => {
    response.setHeader('content-type', 'application/json')
    response.end('{"paid":true}')
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => receiver.once('listening', resolve))
  const { port } = receiver.address() as AddressInfo
  await admin('route.put', { name: 'billing', upstream: `http://127.0.0.1:${port}` })
  await admin('policy.put', {
    name: 'test.cedar',
    text: 'permit(principal == Agent::"support", action == Action::"call", resource == Agent::"billing");',
  })
  const { join: line } = await fabric.invite({
    ...order,
    name: 'support',
    kind: 'agent',
    roles: [],
  })
  caller = await openAgent({ join: line, dir: join(dir, 'support') })
  const reply = await caller.call('billing', { method: 'POST', path: '/', json: { pay: 'now' } })
  await reply.text()
  receipt = (await reply.receipt()).bytes
  browser = await chromium.launch({ executablePath, args: quietArguments })
})

afterAll(async () => {
  if (!hasChromium) return
  await browser.close()
  await caller.close()
  operator.close()
  receiver.close()
  await fabric.close(0)
  rmSync(dir, { recursive: true, force: true })
})

/** A zone other than UTC, so that a time in local form would show. */
const reader = { timezoneId: 'America/New_York', viewport: { width: 1280, height: 800 } }

async function openPage(path: string): Promise<Page> {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...reader })
  const page = await context.newPage()
  await page.goto(`${fabric.origin}${path}`)
  return page
}

async function openConsole(): Promise<Page> {
  const { key } = await admin('key.create', { agent: 'operator', ttlSeconds: 600 })
  const page = await openPage(`/console#key=${key}`)
  await page.getByRole('button', { name: 'Open the console' }).click()
  await page.getByText('live', { exact: true }).waitFor()
  return page
}

/** Returns the exchange id of one more call. */
async function callOnce(): Promise<string> {
  const reply = await caller.call('billing', { method: 'POST', path: '/', json: { pay: 'once' } })
  await reply.text()
  return reply.exchange ?? ''
}

async function judge(page: Page, bytes: Uint8Array): Promise<string> {
  const file = (name: string, buffer: Uint8Array) => ({
    name,
    mimeType: 'application/json',
    buffer: Buffer.from(buffer),
  })
  await page.setInputFiles('#trust', file('trust.json', Buffer.from(formatTrust(caller.trust))))
  await page.setInputFiles('#receipt', file('receipt.json', bytes))
  const verdict = page.locator('#verdict .verdict')
  await verdict.waitFor()
  return (await verdict.getAttribute('class')) ?? ''
}

// `skipIf` names the test as skipped where a browser is missing; in CI that fails the run.
describe.skipIf(!hasChromium)('pages in Chromium', () => {
  test('a receipt verifies in the browser, offline [receipt:offline]', async () => {
    const page = await openPage('/verify')
    await page.context().setOffline(true)
    expect(await judge(page, receipt)).toContain('good')
    const text = (await page.locator('main').textContent()) ?? ''
    expect(text).toContain('support')
    expect(text).toContain('billing')
    await page.context().close()
  })

  test('a receipt with one bit flipped does not [receipt:any-bit]', async () => {
    // One bit in each part: the frame, a leaf, a proof, a salt, a signature, the end.
    const parts = [0, 0.13, 0.29, 0.47, 0.61, 0.78, 0.93, 1]
    const page = await openPage('/verify')
    for (const part of parts) {
      const at = Math.min(receipt.length - 1, Math.floor(receipt.length * part))
      const flipped = receipt.slice()
      flipped[at] = (flipped[at] ?? 0) ^ 1
      expect(await judge(page, flipped)).toContain('bad')
      await page.reload()
    }
    await page.context().close()
  })

  test('the console shows agents, and decisions as they happen', async () => {
    const { key } = await admin('key.create', { agent: 'operator', ttlSeconds: 600 })
    const page = await openPage(`/console#key=${key}`)
    await page.getByRole('button', { name: 'Open the console' }).click()
    await page.getByText('live', { exact: true }).waitFor()
    await page.locator('#agents').getByText('support').waitFor()
    const before = await page.locator('#decisions tr').count()
    const reply = await caller.call('billing', {
      method: 'POST',
      path: '/',
      json: { pay: 'twice' },
    })
    await reply.text()
    await page
      .locator('#decisions')
      .getByText(reply.exchange ?? '', { exact: true })
      .waitFor()
    expect(await page.locator('#decisions tr').count()).toBeGreaterThan(before)
    expect(page.url()).not.toContain('key=')
    await page.context().close()
  })

  test('the console shows who calls whom', async () => {
    const page = await openConsole()
    const edge = page.getByRole('list', { name: 'Who calls whom, last hour' }).getByRole('listitem')
    expect(await edge.innerText()).toMatch(
      /^support → billing\n\d+ exchanges?(?: · [\d.]+ a minute)?\np50 [\d.]+ m?s · p95 [\d.]+ m?s$/,
    )
    await page.context().close()
  })

  test('the console shows approvals as they are asked for and decided on', async () => {
    const text = `@id("paid-twice") @approval("moves money twice")
permit(principal, action == Action::"call", resource) when { context.operation == "PUT" };`
    await admin('policy.put', { name: 'approvals.cedar', text })
    const page = await openConsole()
    const list = page.locator('#approvals')
    await list.waitFor({ state: 'hidden' })
    const body = { pay: 'twice' }
    const refusal = await caller
      .call('billing', { method: 'PUT', json: body })
      .catch((e: unknown) => e)
    if (!(refusal instanceof RefusedError)) throw new Error('the call was not refused')
    const id = refusal.approval?.id ?? ''
    await list.getByText(`countersign approval show ${id}`, { exact: true }).waitFor()
    await list.getByText('moves money twice').waitFor()
    await admin('approval.deny', { id, reason: 'once is enough' })
    await list.waitFor({ state: 'hidden' })
    await page.context().close()
  })

  test('the console shows whole exchange ids, and times in UTC', async () => {
    const page = await openConsole()
    const id = await callOnce()
    const row = page.locator(`#${id}`)
    const code = row.locator('code')
    expect(await code.textContent()).toBe(id)
    // Whole means visible as well: nothing of the table lies outside of its panel.
    const hidden = await page.locator('.panel:has(table)').evaluate((panel) => {
      return panel.scrollWidth - panel.clientWidth
    })
    expect(hidden).toBe(0)
    await code.click()
    expect(await page.evaluate(() => document.getSelection()?.toString())).toBe(id)
    expect(await row.getAttribute('aria-expanded')).toBe('false')
    const began = Date.parse((await row.locator('.time').textContent()) ?? '')
    expect(await row.locator('.time').textContent()).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/)
    expect(Math.abs(began - Date.now())).toBeLessThan(3_600_000)
    // Rows of later exchanges wait for the end of the selection.
    const next = await callOnce()
    expect(await page.evaluate(() => document.getSelection()?.toString())).toBe(id)
    await page.locator('h1').click()
    await page.locator(`#${next}`).waitFor()
    await page.context().close()
  })

  test('the console pages back through the ledger, with what each call took', async () => {
    const first = await callOnce()
    for (let n = 0; n < 101; n++) await callOnce()
    const page = await openConsole()
    expect(await page.locator(`#${first}`).count()).toBe(0)
    await page.getByRole('button', { name: 'Older decisions' }).click()
    const row = page.locator(`#${first}`)
    await row.waitFor()
    expect(await row.textContent()).toMatch(/delivered[^0-9]* \d+ ms/)
    await page.context().close()
  })

  test('a row of the console opens its exchange, by mouse and by keyboard', async () => {
    const page = await openConsole()
    const row = page.locator(`#${await callOnce()}`)
    const id = (await row.getAttribute('id')) ?? ''
    await row.locator('.time').click()
    const details = page.locator('tr.details')
    await details.getByText(`countersign explain ${id}`, { exact: true }).waitFor()
    await details.getByText('gateway', { exact: true }).waitFor()
    await row.focus()
    await page.keyboard.press('Enter')
    await details.waitFor({ state: 'detached' })
    expect(await page.locator('th.wide').textContent()).toBe('Transport')
    await page.context().close()
  })

  test('a link with another key does not replace the one that the operator holds', async () => {
    const { key } = await admin('key.create', { agent: 'operator', ttlSeconds: 600 })
    const page = await openPage(`/console#key=${key}`)
    const held = () => page.evaluate(() => sessionStorage.getItem('countersign-key'))
    expect(await held()).toBeNull()
    await page.getByRole('button', { name: 'Open the console' }).click()
    await page.getByText('live', { exact: true }).waitFor()
    // Followed in the tab that is open, and loaded anew.
    for (const load of [false, true]) {
      await page.goto(`${fabric.origin}/console${load ? '?' : ''}#key=csk_aaaaaaaa_attacker`)
      await page.getByText('live', { exact: true }).waitFor()
      expect(await held()).toBe(key)
      expect(page.url()).not.toContain('key=')
    }
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.locator('#sign-in').waitFor()
    expect(await held()).toBeNull()
    await page.context().close()
  })

  test('the console refuses a key that the fabric does not know', async () => {
    const page = await openPage('/console#key=csk_aaaaaaaa_wrong')
    await page.getByRole('button', { name: 'Open the console' }).click()
    await page.getByRole('alert').getByText('did not accept').waitFor()
    expect(await page.locator('#main').isVisible()).toBe(false)
    await page.context().close()
  })
})
