import { isRefusalCode, REFUSALS } from '@countersign/protocol'

/** One transport's table of wire forms, as its `wire.ts` exports it. */
export type WireTable = Readonly<Record<string, Readonly<Record<string, unknown>>>>

export interface WireTables {
  readonly gateway: WireTable
  readonly mesh: WireTable
  readonly queue: WireTable
}

const codes: readonly string[] = Object.keys(REFUSALS)

export function missingRows(
  name: string,
  table: Readonly<Record<string, unknown>>,
): readonly string[] {
  const rows = Object.keys(table)
  return [
    ...codes.filter((code) => !rows.includes(code)).map((code) => `${name} has no row for ${code}`),
    ...rows
      .filter((row) => !codes.includes(row))
      .map((row) => `${name} has ${row}, no such refusal`),
  ]
}

/** The page's tables whose first column is a code, as cells; the header's cells come first. */
function tablesOf(page: string): readonly (readonly (readonly string[])[])[] {
  return [...page.matchAll(/(?:^\|.*\|\n)+/gm)]
    .map(([table]) =>
      table
        .trim()
        .split('\n')
        .filter((row) => !/^\|[\s|:-]+\|$/.test(row))
        .map((row) =>
          row
            .slice(1, -1)
            .split('|')
            .map((cell) => cell.trim().replace(/^`|`$/g, '')),
        ),
    )
    .filter(([head]) => head?.[0] === 'Code')
}

/** Each code is explained once, with the caller's sentence and whether to try again. */
export function pageFaults(page: string): readonly string[] {
  const rows = tablesOf(page)
    .filter(([head]) => head?.[1] === 'Message')
    .flatMap((table) => table.slice(1))
  const counted = codes.flatMap((code) => {
    const count = rows.filter(([name]) => name === code).length
    return count === 1 ? [] : [`${code} is explained ${count} times`]
  })
  const wrong = rows.flatMap(([code = '', says, again, means, next]) => {
    if (!isRefusalCode(code)) return [`${code} is explained and no such refusal exists`]
    const refusal = REFUSALS[code]
    return [
      ...(says === refusal.says
        ? []
        : [`${code}: the page says "${says}", the code "${refusal.says}"`]),
      ...(again === (refusal.retry ? 'yes' : 'no')
        ? []
        : [`${code}: the page says again: ${again}`]),
      ...(means && next ? [] : [`${code}: what it means or what to do is missing`]),
    ]
  })
  return [...counted, ...wrong]
}

/** The page's table of wire forms, cell by cell. */
export function pageWireFaults(page: string, wire: WireTables): readonly string[] {
  const table = tablesOf(page).find(([head]) => head?.[1] === 'HTTP')
  if (table === undefined) return ['docs/refusals.md has no table of wire forms']
  const written = new Map(table.slice(1).map(([code = '', ...cells]) => [code, cells.join(' | ')]))
  const faults = [...written.keys()].filter((code) => !codes.includes(code))
  return [
    ...faults.map((code) => `${code} has wire forms and no such refusal exists`),
    ...codes.flatMap((code) => {
      const truth = wireRow(code, wire)
      return written.get(code) === truth
        ? []
        : [`${code}: the page has ${written.get(code)}, the code ${truth}`]
    }),
  ]
}

function wireRow(code: string, { gateway, mesh, queue }: WireTables): string {
  const closes = mesh[code]?.['closes'] === true ? 'closes' : 'stays'
  const { status, jsonRpc } = gateway[code] ?? {}
  return [status, jsonRpc, closes, queue[code]?.['disposition']].join(' | ')
}

/** One status for one code on all three transports, so that a caller may switch between them. */
export function statusFaults(wire: WireTables): readonly string[] {
  return codes.flatMap((code) => {
    const [gateway, mesh, queue] = [wire.gateway, wire.mesh, wire.queue].map(
      (table) => table[code]?.['status'],
    )
    return gateway === mesh && mesh === queue
      ? []
      : [
          `${code} is ${String(gateway)} on the gateway, ${String(mesh)} on the mesh, ${String(queue)} on the queue`,
        ]
  })
}

/** Two refusals behind one number would be one to a client that knows only the number. */
export function sharedNumbers({ gateway }: WireTables): readonly string[] {
  const seen = new Map<unknown, string>()
  return codes.flatMap((code) => {
    const number = gateway[code]?.['jsonRpc']
    const other = seen.get(number)
    seen.set(number, code)
    const reserved = typeof number !== 'number' || (number >= -32_768 && number <= -32_000)
    return [
      ...(other === undefined ? [] : [`${code} and ${other} share ${String(number)}`]),
      ...(reserved
        ? [`${code} has ${String(number)}, which JSON-RPC 2.0 section 5.1 reserves`]
        : []),
    ]
  })
}
