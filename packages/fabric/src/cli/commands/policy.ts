import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { RefusedError } from '@countersign/sdk'
import type { Command } from 'commander'
import {
  addClientOptions,
  addCommonOptions,
  type CliContext,
  type ClientOptions,
  type CommonOptions,
  outputOf,
} from '../context.ts'
import { findPolicyFolder } from '../data-folder.ts'
import { assertExchangeId } from '../exchange-id.ts'
import { explain } from '../explain.ts'
import { withFabric } from '../fabric-client.ts'
import { Failure } from '../failure.ts'
import { legible } from '../output/display-width.ts'
import { formatCount } from '../output/quantities.ts'

export function addPolicyCommands(program: Command, context: CliContext): void {
  const policy = program.command('policy').description('what is permitted, and why')
  addCommonOptions(
    policy
      .command('check')
      .argument('[dir]', 'a folder of *.cedar files; the data folder’s own without it')
      .description('validate policies without loading them'),
  ).action((dir: string | undefined, options: CommonOptions) => checkFolder(context, dir, options))
  addCommonOptions(
    policy
      .command('test')
      .argument('[dir]', 'a folder of *.cedar and *.test.yaml files')
      .description('run the expectations stored with the policies'),
  ).action((dir: string | undefined, options: CommonOptions) => testFolder(context, dir, options))
  addClientOptions(
    policy.command('show').description('the policies in force on the running fabric'),
  ).action((options: ClientOptions) => showPolicies(context, options))
  const describe = (command: Command): Command =>
    command
      .argument('<exchange>', 'the exchange id, exc_…')
      .description('why an exchange was decided as it was, and what would change it')
  const action = (exchange: string, options: ClientOptions): Promise<void> =>
    explainExchange(context, exchange, options)
  addClientOptions(describe(policy.command('explain'))).action(action)
  addClientOptions(describe(program.command('explain'))).action(action)
}

function folderOf(context: CliContext, dir: string | undefined, options: CommonOptions): string {
  const folder = dir === undefined ? findPolicyFolder(options, context.environment) : resolve(dir)
  // An absent folder holds no mistake, but the user did not mean to check one.
  if (!existsSync(folder)) {
    throw new Failure('usage', `${folder} does not exist`, 'name the folder of the policies')
  }
  return folder
}

async function checkFolder(
  context: CliContext,
  dir: string | undefined,
  options: CommonOptions,
): Promise<void> {
  const output = outputOf(context, options)
  const { checkPolicyFolder } = await import('../../compose/policy-check.ts')
  const progress = output.progress('Checking policies')
  const folder = folderOf(context, dir, options)
  const checked = await checkPolicyFolder(folder).finally(() => progress.stop())
  if (checked.problems.length > 0) context.end('no')
  output.show({ folder, valid: checked.problems.length === 0, ...checked }, () => {
    const { paint } = output.terminal
    const problems = checked.problems.map((text) => `${paint('red', 'error')} ${legible(text)}`)
    const warnings = checked.warnings.map((text) => `${paint('yellow', 'warn')}  ${legible(text)}`)
    const said = `${formatCount(checked.policies, 'policy', 'policies')} in ${folder}`
    const verdict =
      problems.length === 0
        ? `${paint('green', 'valid')} ${said}, version ${checked.version.slice(0, 12)}`
        : `${paint('red', 'not valid')}: ${formatCount(problems.length, 'problem')}; nothing of it would load`
    return [...problems, ...warnings, verdict].join('\n')
  })
}

async function testFolder(
  context: CliContext,
  dir: string | undefined,
  options: CommonOptions,
): Promise<void> {
  const output = outputOf(context, options)
  const { testPolicyFolder } = await import('../../compose/policy-check.ts')
  const progress = output.progress('Testing policies')
  const folder = folderOf(context, dir, options)
  const tested = await testPolicyFolder(folder).finally(() => progress.stop())
  const failed = tested.results.filter(({ passed }) => !passed)
  if (failed.length > 0 || tested.problems.length > 0) context.end('no')
  output.show({ folder, ...tested }, () => {
    const { paint } = output.terminal
    const problems = tested.problems.map((text) => `${paint('red', 'error')} ${legible(text)}`)
    const failures = failed.flatMap(({ file, name, detail }) => [
      `${paint('red', 'fail')} ${legible(file)}: ${legible(name)}`,
      ...detail.split('\n').map((line) => `     ${legible(line)}`),
    ])
    const passed = tested.results.length - failed.length
    const style = failed.length + problems.length === 0 ? 'green' : 'red'
    const verdict = paint(style, `${passed} of ${formatCount(tested.results.length, 'case')} held`)
    return [...problems, ...failures, verdict].join('\n')
  })
}

async function showPolicies(context: CliContext, options: ClientOptions): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const shown = await fabric.admin('policy.show', {})
    output.show(shown, ({ version, sources }) => {
      const { paint } = output.terminal
      const files = sources.map(
        ({ name, text }) => `${paint('bold', `// ${legible(name)}`)}\n${legibleLines(text)}\n`,
      )
      return [...files, paint('dim', `// version ${version}`)].join('\n')
    })
  })
}

function legibleLines(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => legible(line))
    .join('\n')
}

async function explainExchange(
  context: CliContext,
  exchange: string,
  options: ClientOptions,
): Promise<void> {
  const output = outputOf(context, options)
  assertExchangeId(exchange)
  await withFabric(context, options, async (fabric) => {
    const explained = await fabric
      .admin('policy.explain', { exchange })
      .catch((error: unknown) => Promise.reject(unrecorded(error, exchange)))
    output.show(explained, () => explain(explained, output.terminal))
  })
}

/** The answer to the question is "no", which is not a refusal to answer it. */
function unrecorded(error: unknown, exchange: string): unknown {
  if (!(error instanceof RefusedError) || error.code !== 'EXCHANGE_UNKNOWN') return error
  const next = 'check the id, and that it is of this fabric'
  return new Failure('no', `${exchange} is not on record here`, next)
}
