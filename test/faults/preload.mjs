// Plants one fault in a server process, which a test starts with --import of this file. FAULT names
// it; a fault of a running process waits for SIGUSR2.

import { createRequire, syncBuiltinESMExports } from 'node:module'
import { DatabaseSync } from 'node:sqlite'
import * as threads from 'node:worker_threads'

const [fault = '', argument = ''] = (process.env.FAULT ?? '').split(':')
const workers = createRequire(import.meta.url)('node:worker_threads')

function forever() {
  for (;;);
}

/** Threads by the name that they were started with. */
const started = new Map()
workers.Worker = class extends threads.Worker {
  constructor(file, options) {
    super(file, options)
    started.set(options?.name, this)
  }
}
syncBuiltinESMExports()

function fail() {
  setTimeout(() => {
    throw new Error('planted')
  })
}

/** Locks are files of SQLite as well, and a start takes and gives back some of them. */
function closeBy(fault) {
  const { close } = DatabaseSync.prototype
  DatabaseSync.prototype.close = function () {
    return this.location()?.endsWith('lock') ? close.call(this) : fault()
  }
}

/** From the start of the process on. */
const always = {
  clock() {
    const now = Date.now
    Date.now = () => now() + Number(argument)
  },
  'close-throws'() {
    closeBy(() => {
      throw new Error('planted')
    })
  },
  'close-blocks'() {
    closeBy(forever)
  },
  'close-hangs'() {
    const post = threads.Worker.prototype.postMessage
    workers.Worker.prototype.postMessage = function (message, transfer) {
      if (message?.name !== 'close') post.call(this, message, transfer)
    }
  },
}

const onSignal = {
  throw: fail,
  reject: () => void Promise.reject(new Error('planted')),
  loop: forever,
  heap() {
    const kept = []
    for (;;) kept.push(Array.from({ length: 1e5 }, (_, i) => ({ i })))
  },
  thread: () => void started.get(argument)?.terminate(),
  'close-throws': fail,
  'close-blocks': fail,
  'close-hangs': fail,
}

if (threads.isMainThread) {
  always[fault]?.()
  if (fault in onSignal) process.on('SIGUSR2', onSignal[fault])
}
