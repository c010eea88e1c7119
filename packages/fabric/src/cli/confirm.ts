import { createInterface } from 'node:readline/promises'
import type { Output } from './output/output.ts'

/**
 * Asks the person at the terminal. False for any answer other than the word `yes`, and without a
 * terminal.
 */
export async function confirm(output: Output, question: string): Promise<boolean> {
  if (process.stdin.isTTY !== true) return false
  output.note(`${question} Type yes to go on.`)
  const lines = createInterface({ input: process.stdin })
  try {
    for await (const line of lines) return line.trim() === 'yes'
    return false
  } finally {
    lines.close()
  }
}
