/**
 * A method and a path, such as `GET|HEAD /v1/trust`. The method `*` is any. A segment `:name` is
 * any one segment, also an empty one; a last `**` is the rest of the path, which may be empty.
 */
export type RoutePattern = `${string} /${string}`

export type PathRoute<Handler> = readonly [pattern: RoutePattern, handler: Handler]

export interface PathMatch<Handler> {
  readonly handler: Handler
  /** The named segments, exactly as they were sent. */
  readonly segments: Readonly<Record<string, string>>
  /** The text that `**` stands for, from its slash on; empty where there is none. */
  readonly rest: string
}

interface Row<Handler> {
  /** Null for any. */
  readonly methods: readonly string[] | null
  readonly parts: readonly { readonly name: string | null; readonly literal: string }[]
  readonly hasRest: boolean
  readonly handler: Handler
}

/**
 * Finds the handler of a request by its method and path. The first route that matches wins, so an
 * exact one comes before the one that answers for everything below it. Nothing is decoded and
 * nothing is folded: a path in another spelling is another path.
 */
export class PathRoutes<Handler> {
  readonly #rows: readonly Row<Handler>[]

  constructor(routes: readonly PathRoute<Handler>[]) {
    this.#rows = routes.map(toRow)
  }

  /** `path` is without its query. Null when no route matches. */
  find(method: string, path: string): PathMatch<Handler> | null {
    for (const row of this.#rows) {
      if (row.methods !== null && !row.methods.includes(method)) continue
      const match = matchRow(row, path)
      if (match !== null) return match
    }
    return null
  }
}

function toRow<Handler>([pattern, handler]: PathRoute<Handler>): Row<Handler> {
  const space = pattern.indexOf(' ')
  const method = pattern.slice(0, space)
  const segments = pattern.slice(space + 2).split('/')
  const hasRest = segments.at(-1) === '**'
  const parts = (hasRest ? segments.slice(0, -1) : segments).map((segment) => ({
    name: segment.startsWith(':') ? segment.slice(1) : null,
    literal: `/${segment}`,
  }))
  return { methods: method === '*' ? null : method.split('|'), parts, hasRest, handler }
}

const noSegments: Readonly<Record<string, string>> = {}

/** Makes nothing for a row that does not match: most rows do not. */
function matchRow<Handler>(row: Row<Handler>, path: string): PathMatch<Handler> | null {
  let segments = noSegments
  let at = 0
  for (const { name, literal } of row.parts) {
    const start = at
    if (name === null) {
      if (!path.startsWith(literal, start)) return null
      at += literal.length
      if (at < path.length && path[at] !== '/') return null
    } else {
      if (path[start] !== '/') return null
      const slash = path.indexOf('/', start + 1)
      at = slash < 0 ? path.length : slash
      segments = { ...segments, [name]: path.slice(start + 1, at) }
    }
  }
  if (!row.hasRest && at < path.length) return null
  return { handler: row.handler, segments, rest: path.slice(at) }
}
