#!/usr/bin/env node
// Starts the command line under a Node that can run it: the one that calls, or the one that the
// `node` package brought. Plain JavaScript that old versions understand, and nothing else in it.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const majorMin = 24
const built = fileURLToPath(new URL('../dist/main.js', import.meta.url))
// A checkout runs its sources; a published package has none.
const source = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const isCheckout = existsSync(source)

const runtime = findRuntime()
if (runtime === null) {
  console.error(`error: countersign needs Node ${majorMin} or newer; this is ${process.version}`)
  console.error('next: install a newer Node, or add it here with: npm install node@24')
  process.exit(2)
}
if (runtime === process.execPath && !isCheckout) {
  await import('../dist/main.js')
} else {
  const entry = isCheckout ? ['--conditions=countersign-source', source] : [built]
  const child = spawn(runtime, [...entry, ...process.argv.slice(2)], { stdio: 'inherit' })
  // The child hears Ctrl-C itself; a signal that only reaches us is passed on.
  process.on('SIGINT', () => undefined)
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  child.on('exit', (code, signal) => {
    process.exit(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
  })
}

function findRuntime() {
  if (Number(process.versions.node.split('.')[0]) >= majorMin) return process.execPath
  try {
    const manifest = createRequire(import.meta.url).resolve('node/package.json')
    const binary = fileURLToPath(new URL('bin/node', `file://${manifest}`))
    return existsSync(binary) ? binary : null
  } catch {
    return null
  }
}
