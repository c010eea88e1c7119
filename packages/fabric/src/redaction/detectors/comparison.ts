import { looksMade } from './secret-values.ts'

/**
 * `PASSWORD==x`, `PASSWORD=~x`: without a blank behind them, the signs of a comparison may be the
 * first of an assigned value as well. Returns where that value begins, behind the sign that
 * assigns; -1 where the signs that end at `at` compare in any case.
 */
export function assignedAt(bytes: Uint8Array, nameEnd: number, at: number): number {
  let first = at
  while (first > nameEnd && (bytes[first - 1] === 0x3d || bytes[first - 1] === 0x7e)) first--
  if (at - first < 2 || bytes[first] !== 0x3d) return -1
  // `!==`, `<==`
  return NEGATING.has(bytes[first - 1]) ? -1 : first + 1
}

const NEGATING: ReadonlySet<number | undefined> = new Set(Buffer.from('!<>'))

/** `=~/^…/i`, `=~s{…}{…}`, `=~$form`: matching, and what is done with the match. */
const matching =
  /^(?:\/[^\n]+\/[a-z]{0,6}(?![\w>])|(?:m|qr|s|tr|y|%r)([^\w\s])[^\n]*(?:\1|[)\]}>])|\$[A-Za-z_]+\W*$)/
/** `=~/.ssh/id_ed25519`: a file of the user. */
const homeFile =
  /^\/(?:\.?[A-Za-z_-]+\/)*(?:\.[A-Za-z_-]+(?:\/[A-Za-z_-]+)*|[A-Za-z_-]+\.[a-z]{1,5}|id_[a-z]+\d{0,5})$/
/** `==1.2.3rc1`, `==0x1f`: the version of a package (PEP 440), and a number. */
const number =
  /^(?:v?\d{1,5}(?:\.(?:\d{1,6}|\*)){0,5}(?:[-_.]?(?:a|b|rc|dev|post)\.?\d{1,6}){0,3}|0x[\da-f]+)$/i
/** `==$confirm`, `==$row['confirm']`, `==LIMIT_2X`: variables and constants of code. */
const variable = /^(?:[$@][A-Za-z_]+\d{0,2}(?:$|[[)(.\-;&|,])|[A-Z]+_[A-Z\d_]+$)/
/** Before a name that a variable, an option, or a part of a query or a connection string has. */
const pairHead =
  /^[ \t]*(?:(?:export|set|setx|declare|env|ENV|ARG)[ \t]+)?["'`]?$|[ \t](?:-e|--env|env)[ \t]+["'`]?$|[^&][?&;]$|=\S*[ \t]+$/

/**
 * Reports whether `text`, which begins with the signs after the one that assigns, is the second
 * operand of a comparison instead of a value. Words are an operand, unless they are all of their
 * line.
 */
export function isCompared(text: string, head: string, isLine: boolean): boolean {
  const operand = text.replace(/^[=~]+/, '')
  if (text.startsWith('~'))
    return operand === '' || matching.test(operand) || homeFile.test(operand)
  const word = operand.replace(/[\s,;&|?:)\]}][^]*$/, '')
  if (number.test(word) || variable.test(operand)) return true
  if (/\d[A-Za-z]/.test(operand)) return false
  const isPair = pairHead.test(head)
  if (isPair && looksMade(word)) return false
  return !(isPair && isLine && /^[A-Za-z-]+$/.test(operand))
}
