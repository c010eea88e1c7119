import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ParsedPolicy, PolicyParser } from '../../policy/parser.ts'
import type { CedarAnswer, CedarOrder } from './cedar-process.ts'

/** Twenty thousand policies take less; past this the process hangs and is ended. */
const parseTimeoutMs = 120_000

/** The sources run as they are; the published package holds the compiled twin next to this file. */
const program = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? './cedar-process.ts' : './cedar-process.js',
    import.meta.url,
  ),
)

/**
 * `PolicyParser` by cedar-wasm, each time in a process of its own that ends with its answer. The
 * wasm keeps tens of megabytes that an idle fabric should not, and when a policy breaks it, nothing
 * else breaks with it. The process gets no environment, and so none of the fabric's secrets.
 */
export function createCedarParser(): PolicyParser {
  return { parse: (schema, texts) => askProcess({ schema, texts }) }
}

async function askProcess(order: CedarOrder): Promise<readonly ParsedPolicy[]> {
  const child = fork(program, [], {
    env: {},
    execArgv: [],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  const { promise, resolve, reject } = Promise.withResolvers<CedarAnswer>()
  const timer = setTimeout(() => {
    reject(new Error(`the policy parser gave no answer within ${parseTimeoutMs} ms`))
  }, parseTimeoutMs)
  child.once('message', (answer) => resolve(answer as CedarAnswer))
  child.on('error', reject)
  child.once('exit', (code, signal) => {
    reject(new Error(`the policy parser ended without an answer (${signal ?? `code ${code}`})`))
  })
  child.send(order, (error) => {
    if (error !== null) reject(error)
  })
  try {
    const answer = await promise
    if ('failure' in answer) throw new Error(answer.failure)
    return answer.parsed
  } finally {
    clearTimeout(timer)
    child.kill('SIGKILL')
  }
}
