import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { parseAst } from 'vitest/node'

/** The repository's root; every path in these rules is relative to it, with forward slashes. */
export const root = path.resolve(import.meta.dirname, '../..')

export interface Import {
  readonly specifier: string
  /** Vanishes when types are stripped, so it couples no code at run time. */
  readonly typeOnly: boolean
  readonly line: number
}

export interface Use {
  /** Dotted, as written: `process.env`, `Date.now`, `new Date`; or the syntax: `any`, `!`. */
  readonly what: string
  readonly line: number
}

export interface Span {
  readonly name: string
  readonly line: number
  /** Lines that hold code; blank lines and comments are free, so that no budget eats a comment. */
  readonly codeLines: number
}

export interface Source {
  readonly path: string
  readonly text: string
  readonly codeLines: number
  readonly imports: readonly Import[]
  readonly uses: readonly Use[]
  readonly functions: readonly Span[]
  /** Files it starts by URL, such as workers: `new URL('./x.ts', import.meta.url)`. */
  readonly started: readonly string[]
}

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

/** Tracked files and new ones that git would not ignore; deleted ones are gone. */
function listFiles(): readonly string[] {
  const out = execFileSync(
    'git',
    ['-c', 'safe.directory=*', 'ls-files', '-co', '--exclude-standard', '-z'],
    { cwd: root },
  )
  return out
    .toString()
    .split('\0')
    .filter((file) => file !== '' && isFile(file))
    .sort()
}

export function isFile(file: string): boolean {
  return statSync(path.join(root, file), { throwIfNoEntry: false })?.isFile() ?? false
}

export function exists(file: string): boolean {
  return statSync(path.join(root, file), { throwIfNoEntry: false }) !== undefined
}

const texts = new Map<string, string>()

export function read(file: string): string {
  const known = texts.get(file)
  if (known !== undefined) return known
  const text = readFileSync(path.join(root, file), 'utf8')
  texts.set(file, text)
  return text
}

export const files = listFiles()

const isBinary = /\.(png|ico|woff2?|der|wasm|gz|sqlite)$/
export const textFiles = files.filter((file) => !isBinary.test(file))

export const isTest = (file: string): boolean => file.endsWith('.test.ts')

/** Sources that others install and run: those of the packages, without their tests. */
export const isProduct = (file: string): boolean =>
  /^packages\/[^/]+\/src\/.*\.tsx?$/.test(file) && !isTest(file)

let parsed: readonly Source[] | undefined

/** Every TypeScript file of the repository, parsed once. */
export function sources(): readonly Source[] {
  parsed ??= files
    .filter((file) => /\.tsx?$/.test(file))
    .map((file) => parseSource(file, read(file)))
  return parsed
}

export const product = (): readonly Source[] => sources().filter(({ path }) => isProduct(path))

/** Throws with the path when the text is not TypeScript. */
export function parseSource(file: string, text: string): Source {
  const starts = lineStarts(text)
  const code = codeLineFlags(text)
  const lineOf = (offset: number): number => lineAt(starts, offset)
  const countCode = (from: number, to: number): number => {
    let count = 0
    for (let line = lineOf(from); line <= lineOf(to); line++) if (code[line - 1]) count++
    return count
  }
  const found = {
    imports: [] as Import[],
    uses: [] as Use[],
    functions: [] as Span[],
    started: [] as string[],
  }
  visit(parse(file, text), null, (node, parent) => {
    const line = lineOf(node.start)
    const imported = importOf(node)
    if (imported !== null) found.imports.push({ ...imported, line })
    const what = useOf(node)
    if (what !== null) found.uses.push({ what, line })
    const started = startedBy(node)
    if (started !== null) found.started.push(started)
    if (isFunction(node)) {
      const codeLines = countCode(node.start, node.end)
      found.functions.push({ name: nameOf(node, parent), line, codeLines })
    }
  })
  return { path: file, text, codeLines: code.filter(Boolean).length, ...found }
}

function parse(file: string, text: string): Node {
  try {
    return parseAst(text, { lang: file.endsWith('x') ? 'tsx' : 'ts' }) as unknown as Node
  } catch (cause) {
    throw new Error(`${file} could not be parsed`, { cause })
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value
}

function visit(
  node: Node,
  parent: Node | null,
  see: (node: Node, parent: Node | null) => void,
): void {
  see(node, parent)
  for (const value of Object.values(node)) {
    if (isNode(value)) visit(value, node, see)
    else if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) visit(item, node, see)
    }
  }
}

const field = (node: Node, key: string): Node | null => {
  const value = node[key]
  return isNode(value) ? value : null
}

const literal = (node: Node | null): string | null =>
  node?.type === 'Literal' && typeof node['value'] === 'string' ? node['value'] : null

function importOf(node: Node): Omit<Import, 'line'> | null {
  const specifier = literal(field(node, 'source'))
  if (specifier === null) return null
  if (node.type === 'ImportExpression') return { specifier, typeOnly: false }
  if (node.type === 'TSImportType') return { specifier, typeOnly: true }
  if (node.type === 'ImportDeclaration') {
    return { specifier, typeOnly: node['importKind'] === 'type' || allTypes(node) }
  }
  if (node.type === 'ExportNamedDeclaration' || node.type === 'ExportAllDeclaration') {
    return { specifier, typeOnly: node['exportKind'] === 'type' || allTypes(node) }
  }
  return null
}

function allTypes(node: Node): boolean {
  const specifiers = node['specifiers']
  if (!Array.isArray(specifiers) || specifiers.length === 0) return false
  return specifiers.every(
    (one) => isNode(one) && (one['importKind'] === 'type' || one['exportKind'] === 'type'),
  )
}

function useOf(node: Node): string | null {
  switch (node.type) {
    case 'MemberExpression':
      return dotted(node)
    case 'NewExpression': {
      const callee = field(node, 'callee')
      const bare = Array.isArray(node['arguments']) && node['arguments'].length === 0
      return callee?.type === 'Identifier' && bare ? `new ${String(callee['name'])}` : null
    }
    case 'CallExpression': {
      const callee = field(node, 'callee')
      return callee?.type === 'Identifier' ? `${String(callee['name'])}()` : null
    }
    case 'TSAnyKeyword':
      return 'any'
    case 'TSNonNullExpression':
      return '!'
    case 'ExportDefaultDeclaration':
      return 'export default'
    case 'ExportSpecifier':
      return field(node, 'exported')?.['name'] === 'default' ? 'export default' : null
    case 'ImportExpression':
      return literal(field(node, 'source')) === null ? 'import(computed)' : null
    default:
      return null
  }
}

/** `process.env`, also written `process['env']` or reached through `globalThis`. */
function dotted(node: Node): string | null {
  const object = field(node, 'object')
  const property = field(node, 'property')
  const name =
    property?.type === 'Identifier' && node['computed'] !== true
      ? property['name']
      : literal(property)
  if (object === null || typeof name !== 'string') return null
  if (object.type === 'Identifier') return `${String(object['name'])}.${name}`
  const inner = object.type === 'MemberExpression' ? dotted(object) : null
  return inner?.startsWith('globalThis.') ? `${inner.slice('globalThis.'.length)}.${name}` : null
}

function startedBy(node: Node): string | null {
  if (node.type !== 'NewExpression' || field(node, 'callee')?.['name'] !== 'URL') return null
  const [first] = Array.isArray(node['arguments']) ? node['arguments'] : []
  const target = isNode(first) ? literal(first) : null
  return target?.startsWith('.') ? target : null
}

function isFunction(node: Node): boolean {
  return (
    node.type === 'FunctionDeclaration' ||
    node.type === 'FunctionExpression' ||
    node.type === 'ArrowFunctionExpression'
  )
}

function nameOf(node: Node, parent: Node | null): string {
  const own =
    field(node, 'id') ?? (parent === null ? null : (field(parent, 'key') ?? field(parent, 'id')))
  const name = own?.['name'] ?? own?.['value']
  return typeof name === 'string' ? name : '(anonymous)'
}

function lineStarts(text: string): readonly number[] {
  const starts = [0]
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}

function lineAt(starts: readonly number[], offset: number): number {
  let low = 0
  let high = starts.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((starts[middle] ?? 0) <= offset) low = middle
    else high = middle - 1
  }
  return low + 1
}

function codeLineFlags(text: string): readonly boolean[] {
  let inBlock = false
  return text.split('\n').map((raw) => {
    const line = raw.trim()
    if (inBlock) {
      inBlock = !line.includes('*/')
      return false
    }
    if (line.startsWith('/*')) {
      inBlock = !line.includes('*/')
      return false
    }
    return line !== '' && !line.startsWith('//')
  })
}
