/** All of stdin, or null when it is longer than `bytesMax`. */
export async function readStdin(bytesMax: number): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > bytesMax) return null
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}
