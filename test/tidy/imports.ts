import path from 'node:path'
import { DIRECTIONS, type Exceptions, VENDORS } from './exceptions.ts'
import { isFile, isProduct, type Source } from './source.ts'

const MODULES = [
  ...['identity', 'policy', 'redaction', 'detection', 'secrets', 'ledger'],
  'approvals',
] as const

/**
 * The folders of the server that each folder may import. `lib`, `concurrency`, `state`, `keys` and
 * the protocol are open to all, and a folder is always open to itself. The transports do not know
 * one another; code that two of them need because both speak HTTP is in `transports/http`.
 */
const FABRIC: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  concurrency: [],
  state: [],
  keys: [],
  ...Object.fromEntries(MODULES.map((module) => [module, []])),
  pipeline: MODULES,
  budgets: [],
  channels: ['pipeline'],
  protocols: ['pipeline', 'budgets', 'routes'],
  routes: [],
  'transports/http': ['pipeline', 'budgets', 'protocols', 'routes'],
  'transports/gateway': [
    ...['pipeline', 'budgets', 'protocols', 'routes', 'channels'],
    'transports/http',
  ],
  'transports/mesh': ['pipeline', 'budgets', 'protocols', 'routes', 'transports/http'],
  admin: MODULES,
  backup: ['ledger'],
  adapters: [],
  config: [],
  observe: [],
  cli: ['compose', 'config', 'observe'],
  main: ['cli', 'compose', 'config'],
}

/** Modules share these without knowing one another. */
const OPEN_TO_ALL = new Set(['lib', 'concurrency', 'state', 'keys'])

/** Types of ports reach further than code does: a type couples nothing at run time. */
const FABRIC_TYPES: Readonly<Record<string, readonly string[]>> = {
  budgets: ['pipeline'],
  channels: MODULES,
  protocols: MODULES,
  routes: ['pipeline', 'budgets', 'protocols'],
  'transports/http': MODULES,
  'transports/gateway': MODULES,
  'transports/mesh': MODULES,
  adapters: [...MODULES, 'budgets', 'routes', 'channels', 'pipeline'],
}

/** These introduce the modules to one another, so they alone may know all of them. */
const KNOWS_ALL = new Set(['compose', 'index'])

const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  sdk: ['@countersign/protocol', '@countersign/protocol/tls'],
  // The server, the connector and the SDK share one TLS module: docs/decisions/0001.
  fabric: ['@countersign/protocol', '@countersign/protocol/tls'],
  console: ['@countersign/protocol', '@countersign/sdk'],
  // The command line passes it everything that it needs of the server.
  demo: ['@countersign/protocol', '@countersign/sdk'],
}

/**
 * The imports that a file may have on top of its package's. The CLI is the SDK's second user, and
 * loads the demo where that is installed.
 */
const PACKAGES_EXTRA: readonly { readonly where: string; readonly specifier: string }[] = [
  { where: 'packages/fabric/src/cli/', specifier: '@countersign/sdk' },
  { where: 'packages/fabric/src/cli/demo-package.ts', specifier: '@countersign/demo' },
]

export const within = (file: string, where: string): boolean =>
  where.endsWith('/') ? file.startsWith(where) : file === where

const packageOf = (file: string): string => file.split('/')[1] ?? ''

/** `lib`, `transports/mesh`, `adapters`; for files at the top, their name. */
export function folderOf(file: string): string {
  const [, , , first = '', second = ''] = file.split('/')
  if (first.endsWith('.ts')) return first.slice(0, -'.ts'.length)
  return first === 'transports' && !second.endsWith('.ts') ? `${first}/${second}` : first
}

export const resolveImport = (importer: string, specifier: string): string =>
  path.posix.join(path.posix.dirname(importer), specifier)

const isRelative = (specifier: string): boolean => specifier.startsWith('.')
const isOurs = (specifier: string): boolean =>
  /^(@countersign\/|countersign$|countersign\/)/.test(specifier)

/** The failures of `rules`, less those that `exceptions` excuse, plus unused exceptions. */
export function excuse(
  failures: readonly { readonly at: string; readonly says: string }[],
  exceptions: Exceptions,
): readonly string[] {
  const needed = new Set<string>()
  const left = failures.filter(({ at }) => {
    const found = exceptions.find(({ where }) => within(at, where))
    if (found !== undefined) needed.add(found.where)
    return found === undefined
  })
  const stale = exceptions.filter(({ where }) => !needed.has(where))
  return [
    ...left.map(({ says }) => says),
    ...stale.map(({ where }) => `test/tidy/exceptions.ts: nothing needs the exception ${where}`),
  ]
}

export function packageDirectionFaults(all: readonly Source[]): readonly string[] {
  return all
    .filter(({ path }) => isProduct(path))
    .flatMap((source) =>
      source.imports.flatMap(({ specifier, line }) => {
        const at = `${source.path}:${line}`
        if (isRelative(specifier)) {
          const target = resolveImport(source.path, specifier)
          const home = `packages/${packageOf(source.path)}/src/`
          return target.startsWith(home) ? [] : [`${at} leaves its package for ${target}`]
        }
        if (!isOurs(specifier)) return []
        const allowed = PACKAGES[packageOf(source.path)]?.includes(specifier) === true
        const extra = PACKAGES_EXTRA.some(
          (row) => row.specifier === specifier && within(source.path, row.where),
        )
        return allowed || extra ? [] : [`${at} may not import ${specifier}`]
      }),
    )
}

export function folderDirectionFaults(all: readonly Source[]): readonly string[] {
  const failures = all
    .filter(({ path }) => isProduct(path) && packageOf(path) === 'fabric')
    .flatMap((source) =>
      source.imports.flatMap(({ specifier, line, typeOnly }) => {
        if (!isRelative(specifier)) return []
        const target = resolveImport(source.path, specifier)
        if (mayImport(source.path, target, typeOnly)) return []
        const how = typeOnly ? 'the types of ' : ''
        const at = `${source.path} -> ${target}`
        return [{ at, says: `${source.path}:${line} may not import ${how}${target}` }]
      }),
    )
  return excuse(failures, DIRECTIONS)
}

function mayImport(importer: string, target: string, typeOnly: boolean): boolean {
  const from = folderOf(importer)
  const to = folderOf(target)
  if (OPEN_TO_ALL.has(to) || KNOWS_ALL.has(from)) return true
  // Each engine stands alone; what adapters share lies next to their folders.
  if (from === 'adapters' && to === 'adapters') {
    return engineOf(target) === null || engineOf(target) === engineOf(importer)
  }
  if (from === to) return true
  if (from === 'config' && target.endsWith('/options.ts')) return true
  return (
    FABRIC[from]?.includes(to) === true || (typeOnly && FABRIC_TYPES[from]?.includes(to) === true)
  )
}

function engineOf(file: string): string | null {
  const parts = file.split('/')
  return parts.length > 5 ? (parts[4] ?? null) : null
}

/**
 * Everything that the protocol's entry reaches must run in a browser: no built-ins of Node, no
 * vendors. Its `tls` entry is for Node and may use both.
 */
export function protocolPurityFaults(all: readonly Source[]): readonly string[] {
  const reached = reachedFrom(all, ['packages/protocol/src/index.ts'])
  return all
    .filter(({ path }) => reached.has(path))
    .flatMap(({ path: file, imports }) =>
      imports
        .filter(({ specifier }) => !isRelative(specifier))
        .map(({ specifier, line }) => `${file}:${line} imports ${specifier}`),
    )
}

export function vendorFaults(all: readonly Source[]): readonly string[] {
  const failures = all
    .filter(({ path }) => isProduct(path))
    .flatMap((source) =>
      source.imports.flatMap(({ specifier, line }) => {
        const vendor = vendorOf(specifier)
        if (vendor === null || within(source.path, 'packages/fabric/src/adapters/')) return []
        if (vendor === 'zod' && source.path.endsWith('/options.ts')) return []
        return [{ vendor, at: source.path, says: `${source.path}:${line} imports ${specifier}` }]
      }),
    )
  const hidden = all
    .filter(({ path }) => isProduct(path) && !within(path, 'packages/fabric/src/adapters/'))
    .flatMap(({ path: file, uses }) =>
      uses
        .filter(({ what }) => /^(import\(computed\)|(createRequire|require)\(\))$/.test(what))
        .map(({ what, line }) => `${file}:${line} uses ${what}, which hides what it imports`),
    )
  const vendors = new Set([...Object.keys(VENDORS), ...failures.map(({ vendor }) => vendor)])
  const visible = [...vendors].flatMap((vendor) =>
    excuse(
      failures.filter((failure) => failure.vendor === vendor),
      VENDORS[vendor] ?? [],
    ),
  )
  return [...visible, ...hidden]
}

function vendorOf(specifier: string): string | null {
  if (isRelative(specifier) || isOurs(specifier) || specifier.startsWith('node:')) return null
  const [scope = '', name = ''] = specifier.split('/')
  return scope.startsWith('@') ? `${scope}/${name}` : scope
}

/** Only imports that stay at run time make a cycle. Each is named once, from its first file. */
export function cycles(all: readonly Source[]): readonly string[] {
  const edges = new Map(
    all.map((source) => [
      source.path,
      source.imports
        .filter(({ specifier, typeOnly }) => isRelative(specifier) && !typeOnly)
        .map(({ specifier }) => resolveImport(source.path, specifier)),
    ]),
  )
  const found = new Set<string>()
  const done = new Set<string>()
  const walk = (file: string, trail: readonly string[]): void => {
    const at = trail.indexOf(file)
    if (at !== -1) {
      const loop = trail.slice(at)
      const first = loop.indexOf([...loop].sort()[0] ?? '')
      const turned = [...loop.slice(first), ...loop.slice(0, first)]
      found.add([...turned, turned[0]].join(' -> '))
    } else if (!done.has(file)) {
      for (const next of edges.get(file) ?? []) walk(next, [...trail, file])
      done.add(file)
    }
  }
  for (const file of edges.keys()) walk(file, [])
  return [...found]
}

/**
 * Relative imports that name no file: for example, what a rename left behind in a type-only import.
 */
export function danglingImports(all: readonly Source[]): readonly string[] {
  return all.flatMap((source) =>
    source.imports
      .filter(({ specifier }) => isRelative(specifier))
      .filter(({ specifier }) => !isFile(resolveImport(source.path, specifier)))
      .map(
        ({ specifier, line }) => `${source.path}:${line} imports ${specifier}, which is missing`,
      ),
  )
}

/** Sources that entry points do not reach are dead, whatever their tests cover. */
export function unreached(all: readonly Source[], entries: readonly string[]): readonly string[] {
  const reached = reachedFrom(all, entries)
  return all.map(({ path }) => path).filter((file) => isProduct(file) && !reached.has(file))
}

function reachedFrom(all: readonly Source[], entries: readonly string[]): ReadonlySet<string> {
  const byPath = new Map(all.map((source) => [source.path, source]))
  const reached = new Set<string>()
  const queue = [...entries]
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    const source = byPath.get(file)
    if (source === undefined || reached.has(file)) continue
    reached.add(file)
    const next = [...source.imports.map(({ specifier }) => specifier), ...source.started]
    for (const one of next) {
      if (isRelative(one)) queue.push(resolveImport(file, one).replace(/\.js$/, '.ts'))
    }
  }
  return reached
}
