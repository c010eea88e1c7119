import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import vector from '../../packages/protocol/vectors/batch.json' with { type: 'json' }
import { hasCommand } from '../fuzz/oracle.ts'

/** The verdicts of `github.com/veraison/go-cose` on statements by the key of the vector. */
function verdicts(statements: readonly string[]): readonly string[] {
  const { publicKey, keyId } = vector
  const input = JSON.stringify({ publicKey, keyId, statements })
  const cwd = join(import.meta.dirname, '../cose')
  const env = { ...process.env, GOFLAGS: '-mod=readonly', GOTOOLCHAIN: 'local' }
  const ran = spawnSync('go', ['run', '.'], { cwd, env, input, encoding: 'utf8' })
  if (ran.status !== 0) throw new Error(`go run: ${ran.stderr}`)
  return ran.stdout.trimEnd().split('\n')
}

test.skipIf(!hasCommand('go', 'version'))(
  'a COSE library verifies the statement of a batch, and none with a bit flipped',
  () => {
    const bytes = Buffer.from(vector.statement, 'hex')
    const flipped = Array.from(bytes, (byte, at) =>
      Buffer.from(bytes.with(at, byte ^ (1 << (at & 7)))).toString('hex'),
    )
    const [whole, ...others] = verdicts([vector.statement, ...flipped])
    expect(whole).toBe('verified')
    expect(others).toHaveLength(bytes.length)
    expect(others).not.toContain('verified')
  },
)
