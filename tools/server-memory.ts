import { readFileSync } from 'node:fs'

const launcher = new URL('../packages/fabric/bin/countersign.js', import.meta.url)

/**
 * The settings of the C library's heap that the launcher starts a server with, read from its text,
 * so that what measures memory measures what runs.
 */
export function serverMemory(): Readonly<Record<string, string>> {
  const text = readFileSync(launcher, 'utf8')
  const settings = [...text.matchAll(/^ {2}(MALLOC_[A-Z_]+): '(\d+)',$/gm)]
  if (settings.length === 0) throw new Error('the launcher has no settings of the heap')
  return Object.fromEntries(settings.map(([, name, value]) => [name ?? '', value ?? '']))
}
