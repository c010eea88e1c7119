import { readFile, writeFile } from 'node:fs/promises'
import { configJsonSchema } from '../packages/fabric/src/config/schema.ts'

/**
 * The documentation of `countersign.yaml` for editors and readers, written from the one schema that
 * the fabric parses by: the JSON Schema that is published with the server, and the table in the
 * operator's guide.
 */
export const schemaFile = new URL('../packages/fabric/countersign.schema.json', import.meta.url)
export const guideFile = new URL('../docs/operate/configure.md', import.meta.url)

interface Node {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly const?: string
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly items?: Node
  readonly properties?: Readonly<Record<string, Node>>
  readonly additionalProperties?: Node | boolean
  readonly propertyNames?: Node
  readonly oneOf?: readonly Node[]
  readonly anyOf?: readonly Node[]
}

/** For keys whose meaning the schema leaves to their name. */
const meanings: Readonly<Record<string, string>> = {
  trustDomain: 'The name that every identity begins with. It cannot be changed later.',
  dataDir: 'The data folder. Relative to the folder in which the fabric is started.',
  'listen.host': 'The address to listen on. Others than loopback make the gateway reachable.',
  'listen.port': 'The port to listen on; 0 takes a free one.',
  'masterKey.from':
    'The source of the key that seals the fabric’s own keys; `environment` is COUNTERSIGN_MASTER_KEY. There is no default key, only a default place.',
  'masterKey.path':
    'The file. Required with `passphrase-file`; with `key-file` by default in `countersign` of the configuration folder of the user.',
  'engines.state.engine':
    'The engine of the state: a file in dataDir, or a database that several fabrics share.',
  'engines.counters.engine':
    'The engine of rate limits and used nonces: this process and a file in dataDir, or a server that several fabrics share.',
  'limits.bodyBytes': 'Largest body of a request or answer through the gateway.',
  'limits.requestsPerMinute': 'Of one caller to one receiver.',
  'limits.connections': 'Open at once.',
  'limits.upstreamTimeoutMs':
    'The deadline for an answer to begin, and to end if it is not a stream.',
  'limits.streamMs': 'The longest duration of one event stream.',
  'agents.<name>.roles': 'Roles of a receiver that never enrolled.',
  'agents.<name>.segment': 'Segment of a receiver that never enrolled.',
}

interface Row {
  readonly key: string
  readonly kind: string
  readonly byDefault: string
  readonly says: string
}

export function formatSchema(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`
}

/** One row for each key that the file may hold. Throws on a key without an explanation. */
export function formatTable(): string {
  const rows = rowsOf(configJsonSchema(), '')
  const lines = rows.map(
    ({ key, kind, byDefault, says }) => `| \`${key}\` | ${kind} | ${byDefault} | ${says} |`,
  )
  return ['| Key | Type | Default | Meaning |', '| --- | --- | --- | --- |', ...lines].join('\n')
}

function rowsOf(node: Node, at: string): readonly Row[] {
  const alternatives = (node.oneOf ?? node.anyOf ?? []).filter(isMap)
  if (alternatives.length > 0) return unionRows(alternatives, node.default, at)
  const inner = Object.entries(node.properties ?? {})
  if (inner.length > 0) {
    return inner.flatMap(([name, child]) => rowsOf(child, at === '' ? name : `${at}.${name}`))
  }
  const { additionalProperties: values } = node
  if (typeof values === 'object' && values.properties !== undefined) {
    return rowsOf(values, `${at}.<name>`)
  }
  return [rowOf(node, at)]
}

const isMap = ({ properties }: Node): boolean => properties !== undefined

/** The members of all alternatives, each once. */
function unionRows(alternatives: readonly Node[], byDefault: unknown, at: string): readonly Row[] {
  const names = [...new Set(alternatives.flatMap(({ properties = {} }) => Object.keys(properties)))]
  return names.map((name) => {
    const found = alternatives.flatMap(({ properties = {} }) => properties[name] ?? [])
    const texts = found.flatMap((each) => each.const ?? [])
    const chosen = (byDefault as Readonly<Record<string, unknown>> | undefined)?.[name]
    const first = texts.length > 0 ? { enum: texts } : (found[0] ?? {})
    return rowOf(chosen === undefined ? first : { ...first, default: chosen }, `${at}.${name}`)
  })
}

function rowOf(node: Node, key: string): Row {
  const says = node.description ?? meanings[key]
  if (says === undefined) throw new Error(`the schema does not describe ${key}`)
  const { default: value } = node
  const byDefault = value === undefined ? '' : `\`${JSON.stringify(value)}\``
  return { key, kind: kindOf(node), byDefault, says: says.replaceAll('|', '\\|') }
}

function kindOf(node: Node): string {
  if (node.enum !== undefined) return node.enum.map((text) => `\`${text}\``).join(', ')
  if (node.type === 'integer') return `${node.minimum ?? ''} to ${node.maximum ?? ''}`
  if (node.type === 'boolean') return '`true`, `false`'
  if (node.type === 'array') return 'list of texts'
  if (node.type === 'object') return 'map of texts, whole numbers and flags'
  if (node.type === 'string' || node.anyOf?.every(isText) === true) return 'text'
  throw new Error(`the table has no words for ${JSON.stringify(node)}`)
}

const isText = ({ type }: Node): boolean => type === 'string'

const tableMark = /(<!-- configuration -->\n)[^]*?(\n<!-- end -->)/

/** The guide with the table of today; throws when the guide has lost its place for it. */
export function withTable(guide: string): string {
  if (!tableMark.test(guide)) throw new Error('the guide has no place for the table')
  return guide.replace(tableMark, (_, open: string, close: string) => open + formatTable() + close)
}

if (import.meta.main) {
  await writeFile(schemaFile, formatSchema())
  await writeFile(guideFile, withTable(await readFile(guideFile, 'utf8')))
}
