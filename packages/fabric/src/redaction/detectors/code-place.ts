import { excerptOf } from '../text/ascii.ts'
import type { Span, View } from '../text/view.ts'
import { looksMade } from './secret-values.ts'

const headBytesMax = 160

/** Returns the text before a name on its line. */
export function headOf({ bytes, from }: View, name: Span): string {
  const head = excerptOf(bytes, Math.max(from, name.start - headBytesMax), name.start)
  return head.slice(head.lastIndexOf('\n') + 1)
}

/** `:param password: …`, ` * @param {string} secret - …`: what follows describes a parameter. */
const documented =
  /^\s*(?:[*#/]+\s*)?(?::(?:param|type|keyword|kwarg|arg|ivar|cvar|var|attr)\b[^:=]*\s|[@\\](?:param|property|prop|arg|typedef)\b[^:=]*\s\[?)$/
/** `arn:aws:secretsmanager:region:account:secret:…`: the kind of a resource, and its name. */
const resource = /\bsecretsmanager:[^\s"'`]{0,96}:$/
const statementHead =
  /^\s*(?:async\s+)?(?:def|class|if|elif|for|while|with|case|func|fn|function|match|except)\b/
/** The last line of such a head that began further up: `) -> PrivateKey:`. */
const headEnd = /^\s*\)\s*->\s*[\w.[\], |"']*$/
/** Matches a word that begins a line of code, and rarely a secret. */
const statement =
  /^(?:(?:def|class|return|raise|pass|yield|assert|if|for|while|try|with|await|del|import|from|global|break|continue|switch|let|const|var|throw|self|this|async|print)\b|[#@"']|\/\/|[\w.]+(?:\[[^\]]{0,64}\]|\.\w+)*(?:\s*,\s*[\w.]+)*\s+[-+*/|]?=\s|[\w.]+\()/

/** Before the name of a file: the text behind it describes the file. */
const configuration = /\/etc\/$/

/** Reports whether the head shows that a name there is described rather than given a value. */
export const isDescribed = (head: string): boolean =>
  documented.test(head) || resource.test(head) || configuration.test(head)

/**
 * `passwd:root:x:0:0:…`: a line of that file, as `grep` shows it, or another path of the same file.
 */
const account =
  /^passwd-?:(?:(?:\d{1,6}:)?[\w.$-]{1,64}:[x*!]{0,2}:\d{1,10}:\d{1,10}:|(?:\/[\w.-]+){2})/

export const isAccount = (text: string): boolean => account.test(text)

/**
 * Reports whether the lines below the head of a statement continue with code: `def
 * login(password):`.
 */
export const isCodeBelow = (head: string, first: string): boolean =>
  (statementHead.test(head) || headEnd.test(head)) && statement.test(first)

const extension = '(?:[cm]?[jt]sx?|py|go|rs|java|c|h|cpp|cs|rb|php|md|json|ya?ml|txt|html|css|sh)'
/** `src/auth2/login.ts:12:34` */
const file = new RegExp(`^[\\w./\\\\@:-]{1,128}\\.${extension}(?::\\d+){0,2}$`)

/**
 * A word of a text that is code, a link to it or the place of some: `x=1`, `{@link Key}`, `a2.ts`.
 */
export function isCodeWord(word: string): boolean {
  if (/^\{[^\d]*$/.test(word)) return true
  // `the password is x=…`: what is assigned may be the secret.
  const [operator = ''] = /^[`(]*[A-Za-z_]+\d*=/.exec(word) ?? []
  if (operator !== '') return !/\d/.test(word) || !looksMade(word.slice(operator.length))
  if (/^(?:[`(]*[A-Za-z_]+\d*\(\d*\)|`*--?[a-z]|[*&]+[A-Za-z_]\w*\(|\{@|:[a-z]+:)/.test(word))
    return true
  return file.test(word.replace(/^[("'`[]+|[)"'`\].,;:!?]+$/g, ''))
}
