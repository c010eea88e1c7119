import { PROSE_COLUMNS, proseFaults } from './prose.ts'

interface Block {
  readonly line: number
  readonly text: string
}

/**
 * Paragraphs, list items, headings and table cells of a Markdown file; code blocks hold no prose.
 */
function blocksOf(text: string): readonly Block[] {
  const blocks: { line: number; text: string }[] = []
  let isFenced = false
  let isOpen = false
  for (const [i, raw] of text.split('\n').entries()) {
    const line = plain(raw)
    const isFence = line.startsWith('```')
    if (isFence) isFenced = !isFenced
    if (isFence || isFenced || line === '' || line.startsWith('<!--')) {
      isOpen = false
      continue
    }
    if (line.startsWith('|')) {
      for (const cell of line.split('|'))
        blocks.push({ line: i + 1, text: capitalized(cell.trim()) })
      isOpen = false
      continue
    }
    const marker = /^(?:#{1,6}|[-*]|\d+\.)\s+/.exec(line)
    const last = blocks.at(-1)
    if (marker === null && isOpen && last !== undefined) last.text += ` ${line}`
    else blocks.push({ line: i + 1, text: line.slice(marker?.[0].length ?? 0) })
    isOpen = !line.startsWith('#')
  }
  return blocks
}

/** Cells begin in lower case, and with the same words as sentences. */
const capitalized = (cell: string): string => cell.charAt(0).toUpperCase() + cell.slice(1)

/** A line without the addresses of its links. */
const plain = (line: string): string =>
  line
    .replaceAll(/!\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/\]\([^)]*\)/g, ']')
    .trim()

/** Each sentence that breaks a rule of prose. */
export function documentProseFaults(file: string, text: string): readonly string[] {
  return blocksOf(text).flatMap(({ line, text: block }) =>
    proseFaults(block).map(
      ({ rule, found, instead }) => `${file}:${line} ${rule}: "${found}"; use ${instead}`,
    ),
  )
}

/**
 * Lines over the width, except tables, code blocks and lines that hold one link or one code span.
 */
export function widthFaults(file: string, text: string): readonly string[] {
  let isFenced = false
  return text.split('\n').flatMap((line, i) => {
    if (line.startsWith('```')) isFenced = !isFenced
    const isExempt = isFenced || /^\s*\||^!\[|^(?:[-*] )?(?:\S*\]\(\S+\)|`[^`]+`)\S*$/.test(line)
    return isExempt || line.length <= PROSE_COLUMNS
      ? []
      : [`${file}:${i + 1} has ${line.length} columns`]
  })
}
