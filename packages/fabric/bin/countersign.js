#!/usr/bin/env node
// Starts the command line under a Node that can run it: the one that calls, or the one that a
// package of this platform brought. Plain JavaScript that old versions understand, nothing else.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { fileURLToPath, pathToFileURL } from 'node:url'

const majorMin = 24
const built = fileURLToPath(new URL('../dist/main.js', import.meta.url))
// A checkout runs its sources; a published package has none.
const source = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const isCheckout = existsSync(source)

// Named directly, so that the lock file pins its hash. The package `node` would fetch the same file
// from an install script, which no lock file covers.
const platform = process.platform === 'win32' ? 'win' : process.platform
const runtimePackage = `node-${platform}-${process.arch}`

const runtime = findRuntime()
if (runtime === null) {
  console.error(`error: countersign needs Node ${majorMin} or newer; this is ${process.version}`)
  console.error(`next: install a newer Node, or add it here: npm install ${runtimePackage}@24`)
  process.exit(2)
}
// A signal must not open a debugger: whoever reaches its port reads every key in the process.
const flags = ['--disable-sigusr1', ...(isCheckout ? ['--conditions=countersign-source'] : [])]
const command = [...flags, isCheckout ? source : built, ...process.argv.slice(2)]
// The C library gives back the top of its heap only, and what is in use pins all that lies below
// it. So buffers of bodies, which come in TLS records of 16 KiB, are mapped one by one where the
// heap would have to grow for them. The kernel bounds the number of mappings; the rest lie in the
// heap.
const memory = {
  MALLOC_MMAP_THRESHOLD_: '16384',
  MALLOC_MMAP_MAX_: '16384',
  MALLOC_TRIM_THRESHOLD_: '1048576',
  MALLOC_ARENA_MAX: '2',
}
const env = process.platform === 'linux' ? { ...memory, ...process.env } : process.env
if (runtime === process.execPath && typeof process.execve === 'function') {
  // Replaces this process, so that a supervisor's signals and its process id stay what they were.
  process.removeAllListeners('warning')
  process.execve(runtime, [runtime, ...command], env)
} else {
  // By the end of the channel the child learns that this process has ended, even if it was killed.
  const child = spawn(runtime, command, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'], env })
  // A terminal signals the child as well: what is sent by the channel does not count as a second
  // time.
  const pass = (signal) => child.connected && child.send({ signal }, () => undefined)
  process.on('SIGINT', pass)
  process.on('SIGTERM', pass)
  stopWithNpm(() => pass('SIGTERM'))
  child.on('exit', (code, signal) => {
    process.exit(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
  })
}

/** npm signals its shell, which ends without a word to what it runs. */
function stopWithNpm(stop) {
  if (process.env.npm_command === undefined) return
  const starter = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === starter) return
    clearInterval(timer)
    stop()
  }, 1000)
  timer.unref()
}

function findRuntime() {
  if (Number(process.versions.node.split('.')[0]) >= majorMin) return process.execPath
  try {
    const manifest = createRequire(import.meta.url).resolve(`${runtimePackage}/package.json`)
    const name = platform === 'win' ? 'bin/node.exe' : 'bin/node'
    const binary = fileURLToPath(new URL(name, pathToFileURL(manifest)))
    return existsSync(binary) ? binary : null
  } catch {
    return null
  }
}
