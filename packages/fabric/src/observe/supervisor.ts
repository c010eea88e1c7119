import { spawn } from 'node:child_process'

/** The variables that systemd gives a unit of `Type=notify` (sd_notify(3)). */
export interface SupervisorEnvironment {
  /** NOTIFY_SOCKET; null where nothing supervises the process. */
  readonly notifySocket: string | null
  /** WATCHDOG_USEC, as milliseconds; null without `WatchdogSec=`. */
  readonly watchdogMs: number | null
}

export interface Supervisor {
  /** The server serves; from now on the watchdog is fed. */
  ready(): void
  /** The server stops, and gets this long. */
  stopping(withinMs: number): void
  close(): void
}

export interface SupervisorOptions {
  readonly environment: SupervisorEnvironment
  isAlive(): boolean
  onFault(cause: Error): void
  readonly send?: (words: readonly string[]) => Promise<void>
}

/** systemd expects one message in an interval; two leave room for a slow fork. */
const perInterval = 2
const sendTimeoutMs = 10_000

/**
 * Reports to systemd how the process is. Node has no datagram sockets in the file system, so
 * `systemd-notify`, which comes with systemd, sends each message; the unit needs
 * `NotifyAccess=all`.
 */
export function openSupervisor(options: SupervisorOptions): Supervisor {
  const { environment, onFault } = options
  const { notifySocket, watchdogMs } = environment
  if (notifySocket === null) {
    return { ready: () => undefined, stopping: () => undefined, close: () => undefined }
  }
  const sendBy = options.send ?? ((words) => notify(notifySocket, words))
  let timer: NodeJS.Timeout | null = null
  let sending = false
  const send = (...words: readonly string[]): void => {
    sendBy(words).catch((cause: unknown) => {
      onFault(cause instanceof Error ? cause : new Error(String(cause)))
    })
  }
  const feed = (): void => {
    // Unfed, systemd ends the process and starts it again: the one cure for commits that hang.
    if (sending || !options.isAlive()) return
    sending = true
    sendBy(['WATCHDOG=1'])
      .catch(onFault)
      .finally(() => {
        sending = false
      })
  }
  return {
    ready() {
      send('--ready', 'STATUS=serving')
      if (watchdogMs === null) return
      timer = setInterval(feed, watchdogMs / perInterval)
      timer.unref()
      feed()
    },
    stopping(withinMs) {
      send('STOPPING=1', `EXTEND_TIMEOUT_USEC=${withinMs * 1000}`, 'STATUS=stopping')
    },
    close: () => clearInterval(timer ?? undefined),
  }
}

/** The child gets the socket and nothing else of our environment. */
function notify(socket: string, words: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('systemd-notify', [`--pid=${process.pid}`, ...words], {
      env: { NOTIFY_SOCKET: socket, PATH: '/usr/bin:/bin:/usr/local/bin' },
      stdio: 'ignore',
      timeout: sendTimeoutMs,
      killSignal: 'SIGKILL',
    })
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      if (code === 0) resolve()
      else reject(new Error(`systemd-notify ended with ${signal ?? String(code)}`))
    })
  })
}
