/**
 * The stream of `chunks`, which begin to be read when it is. One at a time: a slow reader slows the
 * sender down instead of filling our memory. `cancel` is called when its reader gives up the rest.
 */
export function toWebStream(
  chunks: AsyncIterable<Uint8Array>,
  cancel: () => void = () => undefined,
): ReadableStream<Uint8Array> {
  let reading: AsyncIterator<Uint8Array> | null = null
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        reading ??= chunks[Symbol.asyncIterator]()
        const next = await reading.next()
        if (next.done === true) controller.close()
        else controller.enqueue(next.value)
      },
      async cancel() {
        cancel()
        await reading?.return?.()
      },
    },
    { highWaterMark: 0 },
  )
}
