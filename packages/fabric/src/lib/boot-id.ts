import { readFileSync } from 'node:fs'

/**
 * Returns the id that the Linux kernel draws for each start of the host, the same in all of its
 * containers. Null on other systems.
 */
export function readBootId(): string | null {
  try {
    const id = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return /^[0-9a-f-]{36}$/.test(id) ? id : null
  } catch {
    return null
  }
}
