import { type ProseRule, proseFaults, SENTENCE_RULES, VOCABULARY_RULES } from './prose.ts'
import type { Source } from './source.ts'

/** Comments hold directives of tools as well, which are not prose. */
const directive = /^\s*(?:oxlint|biome|eslint|@ts-|<reference|@vitest|v8 ignore)/

/**
 * Rules for code comments: those of sentences, and words of the house where they cannot be code.
 * "room" is space in many comments, bytes may be unread, and "standing" and "story" are ordinary
 * words there.
 */
const exempt = /^(?:module|status|unparsed|demo, step, printer|obligations; requires)$/
export const COMMENT_RULES: readonly ProseRule[] = [
  ...SENTENCE_RULES,
  ...VOCABULARY_RULES.filter(({ instead }) => !exempt.test(instead.replaceAll('"', ''))),
]

export interface Comment {
  readonly line: number
  /** Without its signs, lines joined by blanks; paragraphs and list items on their own. */
  readonly blocks: readonly string[]
}

/** Comments on lines of their own: one behind code is short, and a string may look like one. */
export function commentsOf(text: string): readonly Comment[] {
  const found: Comment[] = []
  const lines = text.split('\n')
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]?.trim() ?? ''
    const isBlock = line.startsWith('/**') || line.startsWith('/*')
    if (!isBlock && !line.startsWith('//')) continue
    const first = i
    const held: string[] = []
    if (isBlock) {
      while (i < lines.length - 1 && lines[i]?.includes('*/') !== true) i++
      held.push(...lines.slice(first, i + 1).map(withoutSigns))
    } else {
      while (lines[i + 1]?.trim().startsWith('//') === true) i++
      held.push(...lines.slice(first, i + 1).map((each) => each.trim().replace(/^\/\/ ?/, '')))
    }
    found.push({ line: first + 1, blocks: blocksOf(held) })
  }
  return found
}

const item = /^(?:[-*] |\d+\. )/

const withoutSigns = (line: string): string =>
  line
    .trim()
    .replace(/\s*\*\/.*$/, '')
    .replace(/^(?:\/\*\*?|\*) ?/, '')

function blocksOf(lines: readonly string[]): readonly string[] {
  const blocks: string[] = []
  let isOpen = false
  for (const line of lines) {
    const isCode = /^ {3,}/.test(line)
    if (line.trim() === '' || isCode) {
      isOpen = false
      continue
    }
    if (isOpen && !item.test(line) && !line.startsWith('@')) {
      blocks[blocks.length - 1] += ` ${line.trim()}`
    } else blocks.push(line.trim())
    isOpen = true
  }
  return blocks.filter((block) => !directive.test(block)).map((block) => block.replace(item, ''))
}

/** Each sentence of a comment that breaks a rule of prose. */
export function commentProseFaults(all: readonly Source[]): readonly string[] {
  return all.flatMap(({ path, text }) =>
    commentsOf(text).flatMap(({ line, blocks }) =>
      blocks.flatMap((block) =>
        proseFaults(block, COMMENT_RULES).map(
          ({ rule, found, instead }) => `${path}:${line} ${rule}: …${found}… (${instead})`,
        ),
      ),
    ),
  )
}

/** Lines over the width that a comment is wrapped at; one without a blank cannot be wrapped. */
export function wideComments(all: readonly Source[]): readonly string[] {
  return all.flatMap(({ path, text }) =>
    text
      .split('\n')
      .flatMap((line, i) =>
        line.length > 100 && /^\s*(?:\/\/|\/?\*)/.test(line) && !directive.test(withoutMarks(line))
          ? [`${path}:${i + 1} is ${line.length} columns wide`]
          : [],
      ),
  )
}

const withoutMarks = (line: string): string => line.replace(/^\s*(?:\/\/|\/?\*+) ?/, '')
