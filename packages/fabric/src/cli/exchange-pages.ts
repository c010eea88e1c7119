import type { ExchangePage, LogPartArgs } from '@countersign/protocol'
import { columnsOf, exchangeRow } from './entry-view.ts'
import type { Output } from './output/output.ts'

/** The number of exchanges that one answer has at most. */
const pageMax = 1_000

/** Asks for pages in one direction, until there are `count` exchanges or the log ends. */
export async function collectPages(
  count: number,
  { before, after }: Pick<LogPartArgs, 'before' | 'after'>,
  ask: (args: LogPartArgs) => Promise<ExchangePage>,
): Promise<ExchangePage> {
  const bound = after === undefined ? { before } : { after }
  let page = await ask({ countMax: Math.min(count, pageMax), ...bound })
  while (page.exchanges.length < count) {
    const countMax = Math.min(count - page.exchanges.length, pageMax)
    if (after !== undefined) {
      const next = await ask({ countMax, after: page.newer })
      if (next.newer === page.newer) break
      page = { ...next, exchanges: [...next.exchanges, ...page.exchanges], older: page.older }
    } else {
      if (page.older === null) break
      const next = await ask({ countMax, before: page.older })
      page = { ...next, exchanges: [...page.exchanges, ...next.exchanges], newer: page.newer }
    }
  }
  return page
}

/** Oldest first, as in a log; `option` is that of the command, which goes on to older ones. */
export function showExchanges(output: Output, page: ExchangePage, option: string): void {
  output.show(page, ({ exchanges }) =>
    output.terminal.table({
      columns: columnsOf(exchanges),
      rows: exchanges.toReversed().map(exchangeRow),
    }),
  )
  if (page.older !== null) output.note(`older ones: ${option} ${page.older}`)
}
