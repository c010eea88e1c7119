import { type FSWatcher, watch } from 'node:fs'

/**
 * Editors write a file in several steps; a change is reported once they have been quiet this long.
 */
const quietMs = 100

/**
 * Maximum number of postponements; a folder that never falls quiet is still reported after them: 2
 * s.
 */
const postponementsMax = 20

/** Some file systems report no changes, and a folder made anew is another folder to the watcher. */
const pollMs = 5_000

/**
 * Calls `onChange` soon after something in `dir` may have changed, and every few seconds besides,
 * so the listener must be cheap when nothing did. The folder need not exist. Keeps no process
 * alive. Returns the function that stops it.
 */
export function watchFolder(dir: string, onChange: () => void): () => void {
  let timer: NodeJS.Timeout | null = null
  let postponements = 0

  function fire(): void {
    timer = null
    postponements = 0
    onChange()
  }

  function touch(): void {
    if (timer !== null) {
      if (++postponements >= postponementsMax) return
      clearTimeout(timer)
    }
    timer = setTimeout(fire, quietMs).unref()
  }

  const watcher = startWatcher(dir, touch)
  const poll = setInterval(onChange, pollMs).unref()
  return () => {
    watcher?.close()
    clearInterval(poll)
    if (timer !== null) clearTimeout(timer)
  }
}

/** Null where the folder cannot be watched; polling notices its changes later. */
function startWatcher(dir: string, onEvent: () => void): FSWatcher | null {
  try {
    const watcher = watch(dir, { persistent: false }, onEvent)
    watcher.on('error', () => watcher.close())
    return watcher
  } catch {
    return null
  }
}
