/**
 * The commands that the demo sends to an agent's process, and the answers of the process: one
 * command, one answer, over the channel that comes with a child process. Nothing of it crosses the
 * fabric.
 */
export type Orders = { readonly [order: string]: (args: never) => Promise<unknown> }

export interface Order {
  readonly id: number
  readonly order: string
  readonly args: unknown
}

export type OrderAnswer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly fault: string }

/** Carries out what the parent orders; ends with the parent, however that one ends. */
export function obey(orders: Orders): void {
  process.on('message', (message: Order) => {
    carryOut(orders, message)
      .then((answer) => process.send?.(answer))
      .catch(() => process.exit(1))
  })
  // A parent that was killed closes the channel too, so no agent is left behind.
  process.once('disconnect', () => process.exit(0))
}

async function carryOut(orders: Orders, { id, order, args }: Order): Promise<OrderAnswer> {
  const known = Object.hasOwn(orders, order) ? orders[order] : undefined
  if (known === undefined) return { id, fault: `there is no order ${order}` }
  try {
    return { id, value: await known(args as never) }
  } catch (error) {
    return { id, fault: error instanceof Error ? error.message : String(error) }
  }
}
