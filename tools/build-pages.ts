import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

interface Page {
  /** The folder in `packages/console/src`, and the name of its script. */
  readonly name: 'verify' | 'dashboard'
  /** As the server finds it in `packages/fabric/pages`. */
  readonly file: string
  /** The hosts that the page may connect to. */
  readonly connect: "'none'" | "'self'"
}

const verifyPage: Page = { name: 'verify', file: 'verify.html', connect: "'none'" }
const consolePage: Page = { name: 'dashboard', file: 'console.html', connect: "'self'" }

/** The receipt verifier as one HTML document that asks the network for nothing. */
export function buildVerifyPage(): Promise<string> {
  return buildPage(verifyPage)
}

/** The console as one HTML document that connects only to the fabric it came from. */
export function buildConsolePage(): Promise<string> {
  return buildPage(consolePage)
}

/**
 * One document: script and style stand in it, and its content security policy lets only those two,
 * by their hashes, take effect.
 */
async function buildPage(page: Page): Promise<string> {
  const folder = new URL(`../packages/console/src/${page.name}/`, import.meta.url)
  const scriptTag = `<script type="module" src="./${page.name}.ts"></script>`
  const template = await readFile(new URL('index.html', folder), 'utf8')
  const style = /<style>([^]*?)<\/style>/.exec(template)?.[1]
  if (style === undefined || !template.includes(scriptTag)) {
    throw new Error(`packages/console/src/${page.name}/index.html has lost its style or its script`)
  }
  const script = await bundleScript(new URL(`${page.name}.ts`, folder))
  // A replacement function, because a dollar sign in the script would be a pattern in a string.
  return template
    .replace('<meta charset="utf-8">', (meta) => `${meta}\n${policyTag(page, script, style)}`)
    .replace(scriptTag, () => `<script type="module">${script}</script>`)
}

async function bundleScript(input: URL): Promise<string> {
  const bundle = await rolldown({
    input: fileURLToPath(input),
    platform: 'browser',
    resolve: { conditionNames: ['countersign-source', 'import', 'default'] },
  })
  try {
    const { output } = await bundle.generate({ format: 'esm', minify: true })
    if (output.length !== 1) throw new Error('a page has to be one script')
    // Inside of a script element, only this sequence would end it, or start a comment in it.
    return output[0].code.trim().replaceAll(/<(?=\/script|!--|script)/gi, '\\x3c')
  } finally {
    await bundle.close()
  }
}

function policyTag(page: Page, script: string, style: string): string {
  const directives = [
    "default-src 'none'",
    `script-src '${hashSource(script)}'`,
    `style-src '${hashSource(style)}'`,
    `connect-src ${page.connect}`,
    "base-uri 'none'",
    "form-action 'none'",
  ]
  return `<meta http-equiv="Content-Security-Policy" content="${directives.join('; ')}">`
}

function hashSource(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}

if (import.meta.main) {
  const target = new URL('../packages/fabric/pages/', import.meta.url)
  await mkdir(target, { recursive: true })
  for (const page of [verifyPage, consolePage]) {
    await writeFile(new URL(page.file, target), await buildPage(page))
  }
}
