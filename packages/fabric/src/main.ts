#!/usr/bin/env node
const nodeMajorMin = 24
const endedMs = 1_000
const [major = 0] = process.versions.node.split('.').map(Number)

if (major < nodeMajorMin) {
  process.stderr.write(
    `error: countersign needs Node ${nodeMajorMin} or newer; this is ${process.versions.node}\n` +
      'next: install it, or run the one that `npm ci` brings along in a checkout\n',
  )
  process.exitCode = 70
} else {
  // Keys, identities, hashes of secrets: no file of ours is for any user except the one who made
  // it.
  process.umask(0o077)
  // Without the flag of the launcher this keeps Node from opening a debugger on the signal, whose
  // port any local user could read every key from.
  if (process.platform !== 'win32') process.on('SIGUSR1', () => undefined)
  // The features that Node itself calls experimental concern us, not the reader of an answer.
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message }) => {
    if (name !== 'ExperimentalWarning') process.stderr.write(`${name}: ${message}\n`)
  })
  // A reader that has seen enough closes the pipe; that is not a failure of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : 70)
  })
  // Only now: older runtimes fail on the imports of this module before they can report why.
  const { obeyLauncher } = await import('./cli/starter.ts')
  obeyLauncher()
  const { run } = await import('./cli/run.ts')
  process.exitCode = await run(process.argv.slice(2))
  // A handle that something forgot must not keep a process alive whose work is done. The timer is
  // not one itself; output that a reader has not taken yet gets its time.
  const end = setInterval(() => {
    if (process.stdout.writableLength === 0) process.exit()
  }, endedMs)
  end.unref()
}
