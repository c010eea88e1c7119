import path from 'node:path'
import { exists, files, read } from './source.ts'

/** Folders a short path in prose may start from, such as `pipeline/enforce.ts`. */
const PROSE_ROOTS = [
  '',
  'packages/fabric/src',
  'packages/protocol/src',
  'packages/sdk/src',
  'packages/console/src',
  'packages/demo/src',
]
const PROSE_FOLDERS = /^(packages|test|tools|docs|examples|bench|\.ci)\//
const EXTENSION = /\.(ts|tsx|json|md|sql|cedar|ya?ml|css|html)$/
/** Text with a hole in it names no file: `adapters/<engine>/client.ts`, `*.test.ts`. */
const HOLE = /[<>*{}$…|]|\.\.\./

export const documents = (): readonly string[] => files.filter((file) => file.endsWith('.md'))

/** Every relative link leads to a file, and its anchor to a heading there. */
export function linkFaults(file: string, text: string): readonly string[] {
  const prose = withoutFences(text).replace(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g)].flatMap(([, target = '']) => {
    if (/^[a-z][a-z+.-]*:/.test(target)) return []
    const [to = '', anchor] = target.split('#')
    const resolved = to === '' ? file : path.posix.join(path.posix.dirname(file), to)
    if (!exists(resolved)) return [`${file} links to ${target}, which does not exist`]
    if (anchor === undefined || !resolved.endsWith('.md')) return []
    return anchorsOf(read(resolved)).has(anchor)
      ? []
      : [`${file} links to ${target}: no such heading`]
  })
}

/** Every path in `code` resolves, from the document, from the root or from a package's sources. */
export function pathFaults(file: string, text: string): readonly string[] {
  const inline = [...withoutFences(text).matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
  const fenced = [...text.matchAll(/^```[\s\S]*?^```/gm)].flatMap(([block]) => block.split(/\s+/))
  const mentioned = [
    ...inline.filter((code) => isPath(code)),
    ...fenced.filter(
      (word) => PROSE_FOLDERS.test(word) && EXTENSION.test(word) && !HOLE.test(word),
    ),
  ]
  const from = [path.posix.dirname(file), ...PROSE_ROOTS]
  return [...new Set(mentioned)].flatMap((code) => {
    const target = code.replace(/[:#].*$/, '')
    const found = from.some((folder) => exists(path.posix.join(folder, target)))
    return found ? [] : [`${file} names ${code}, which does not exist`]
  })
}

function isPath(code: string): boolean {
  if (/\s/.test(code) || HOLE.test(code) || !code.includes('/')) return false
  if (/^([a-z]+:)?\/\//.test(code) || code.startsWith('/') || code.startsWith('@')) return false
  return PROSE_FOLDERS.test(code) || EXTENSION.test(code)
}

/** `npm run x` in a document, where the root has no such script. */
export function scriptFaults(
  file: string,
  text: string,
  scripts: ReadonlySet<string>,
): readonly string[] {
  return [...text.matchAll(/npm run ([a-z][a-z:-]*)/g)].flatMap(([, name = '']) =>
    scripts.has(name) ? [] : [`${file} runs npm script ${name}, which does not exist`],
  )
}

function anchorsOf(text: string): ReadonlySet<string> {
  const headings = [...withoutFences(text).matchAll(/^#{1,6}\s+(.+?)\s*$/gm)]
  return new Set(
    headings.map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replace(/\s/g, '-'),
    ),
  )
}

const withoutFences = (text: string): string => text.replace(/^```[\s\S]*?^```/gm, '')
