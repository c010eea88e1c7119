import { describe, expect, test } from 'vitest'
import { commentProseFaults, commentsOf, wideComments } from './comment-prose.ts'
import { documentProseFaults, widthFaults } from './document-prose.ts'
import { proseFaults, sentencesOf } from './prose.ts'
import { parseSource } from './source.ts'

const rulesOf = (text: string): readonly string[] => proseFaults(text).map(({ rule }) => rule)

describe('planted faults of prose', () => {
  test.each([
    ['free relative', 'What a caller sends is parsed.'],
    ['free relative', 'It is parsed. Whether it is valid is decided later.'],
    ['free relative', '**Where** the header is absent, the host is covered.'],
    ['free relative', 'How a client is found.'],
    ['is no', 'The header is no proof.'],
    ['is no', 'They are no clients.'],
    ['unnamed actor', 'Nobody reads it.'],
    ['unnamed actor', 'It is closed to whoever asks.'],
    ['unnamed actor', "It runs on somebody's machine."],
    ['unnamed actor', 'No one else holds it.'],
    ['but for', 'All but for one pass.'],
    ['beside', 'A connector runs beside the agent.'],
    ['archaism', 'Two entries beget a third.'],
    ['archaism', 'It is parsed lest a header be lost.'],
    ['anthropomorphism', 'The caller hears a code.'],
    ['anthropomorphism', 'The log says why.'],
    ['anthropomorphism', 'The client was told.'],
    ['vocabulary', 'All three ways are guarded.'],
    ['vocabulary', 'Each room owns a question.'],
    ['vocabulary', 'A stranger cannot read it.'],
    ['vocabulary', 'Its standing is looked up.'],
    ['vocabulary', 'The policy obliges a signature.'],
  ])('%s: %s', (rule, text) => {
    expect(rulesOf(text)).toEqual([rule])
  })

  test.each([
    'Returns the entry, or null when there is no such entry.',
    'The lease is no longer held. There are no more entries.',
    'What is happening?',
    'However it ends, the outcome is recorded.',
    'The buffer has no room for another body.',
    'Send `tell nobody` to it.',
    'A long-standing connection is closed.',
    'The page states what the caller may do.',
    'The message "nobody is here" is logged.',
  ])('no fault: %s', (text) => {
    expect(rulesOf(text)).toEqual([])
  })

  test('a block is cut into sentences, across its lines', () => {
    expect(sentencesOf('One is `a. B`.\nTwo: Three; four. (Five.)')).toEqual([
      'One is CODE.',
      'Two:',
      'Three; four.',
      'Five.)',
    ])
  })
})

describe('planted faults of documents', () => {
  test('a fault in a heading, a paragraph, a list and a cell, and none in code', () => {
    const text = [
      '# Who acts',
      'A page that [nobody](x.md) reads,',
      'and no one writes.',
      '- Where it is',
      '| a | whose |',
      '```',
      'Nobody',
      '```',
      '`Nobody`',
    ].join('\n')
    expect(documentProseFaults('a.md', text).map((fault) => fault.split(' ')[0])).toEqual([
      'a.md:1',
      'a.md:2',
      'a.md:4',
      'a.md:5',
    ])
  })

  test('a line over the width, unless it is a table, code or one link', () => {
    const long = 'word '.repeat(21).trim()
    expect(widthFaults('a.md', long)).toHaveLength(1)
    expect(widthFaults('a.md', `| ${long} |\n\`\`\`\n${long}\n\`\`\``)).toEqual([])
    expect(widthFaults('a.md', `- [a](https://example.com/${'a'.repeat(100)})`)).toEqual([])
  })
})

describe('planted faults of comments', () => {
  const sourceOf = (...lines: readonly string[]) => [parseSource('a.ts', lines.join('\n'))]
  const placesOf = (...lines: readonly string[]): readonly string[] =>
    commentProseFaults(sourceOf(...lines)).map((fault) => fault.split(': ')[0] ?? '')

  test.each([
    ['free relative', ['/** Whether it is open. */']],
    ['free relative', ['/**', ' * A list:', ' *', ' * - What is read', ' */']],
    ['free relative', ['/**', ' * 1. It is read.', ' * 2. Where it ends, it is closed.', ' */']],
    ['unnamed actor', ['// It is read, and no', '// one else reads it.']],
    ['is no', ['/* A header is no proof. */']],
    ['anthropomorphism', ['const a = () => {', '  // The caller hears a code.', '}']],
    ['vocabulary', ['/** A stranger cannot read it. */']],
  ])('%s: %j', (rule, lines) => {
    expect(placesOf(...lines)).toEqual([expect.stringMatching(`^a\\.ts:[12] ${rule}$`)])
  })

  test.each([
    [['/** The buffer has room, and its bytes are unread. */']],
    [['/**', ' * Reads it:', ' *', ' *     Where the path ends', ' */']],
    [['/** Matches `Nobody`. */']],
    [['// oxlint-disable-next-line no-await: nobody waits']],
    [["const text = 'Nobody // hears it'"]],
  ])('no fault: %j', (lines) => {
    expect(placesOf(...lines)).toEqual([])
  })

  test('a comment is cut into paragraphs and items, without its signs', () => {
    const text = '/**\n * One\n * two.\n *\n * - Three\n * - Four\n */\n\n  // Five\n  // six'
    expect(commentsOf(text)).toEqual([
      { line: 1, blocks: ['One two.', 'Three', 'Four'] },
      { line: 9, blocks: ['Five six'] },
    ])
  })

  test('a comment over the width, unless it is a directive', () => {
    const long = 'word '.repeat(21).trim()
    const lines = [`// ${long}`, '/**', ` * ${long}`, ' */', `const a = '${long}'`]
    expect(wideComments(sourceOf(...lines)).map((fault) => fault.split(' ')[0])).toEqual([
      'a.ts:1',
      'a.ts:3',
    ])
    expect(wideComments(sourceOf(`// oxlint-disable-next-line ${long}`))).toEqual([])
  })
})
