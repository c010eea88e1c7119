import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = new URL('../../../', import.meta.url)

/** The lines between `// docs:<name>` and `// docs:end`. */
async function region(file: string, name: string): Promise<string> {
  const text = await readFile(new URL(file, root), 'utf8')
  const [, after = ''] = text.split(`// docs:${name}\n`)
  return after.split('// docs:end\n')[0] ?? ''
}

test('every program in the guide is taken from an example that runs', async () => {
  const guide = await readFile(new URL('docs/sdk.md', root), 'utf8')
  const quoted = [...guide.matchAll(/<!-- (examples\/[\w.-]+)#([\w-]+) -->\n```ts\n([^]*?)```/g)]
  expect(guide.match(/```ts/g)).toHaveLength(quoted.length)
  expect(quoted.length).toBeGreaterThan(0)
  for (const [, file = '', name = '', code] of quoted) {
    expect(code, `${file}#${name}`).toBe(await region(file, name))
    expect(code).not.toBe('')
  }
})

test('the program with a channel asks for it before it spends a join string', () => {
  const program = fileURLToPath(new URL('examples/sealed-channel.ts', root))
  const words = ['--conditions=countersign-source', program, 'join-of-sender', 'join-of-receiver']
  const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' })
  expect(status).toBe(1)
  expect(stderr).toContain('usage: sealed-channel.ts <join of the sender>')
})
