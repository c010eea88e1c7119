import { tailStart, withoutSeparators } from './code-tail.ts'
import { isReferenceName, isStatement } from './secret-values.ts'

const container = /^(?:[[{(]\s*(?:\\*["'`]|[[{(\]})]|$)|[{(]\s*[\w$.-]+\s*[:=])/
const nothing = /^(?:\|\||&&|\?\?|\/\/|\/\*|#\s)/

/** Whether text after an operator begins with other members, which have names of their own, or a comment. */
export const isContainer = (start: string): boolean => container.test(start) || nothing.test(start)

const word = '[A-Za-z_$][A-Za-z_$]*\\d*'
const argument = '\\((?:[^()"\']|"[^"]*"|\'[^\']*\'|\\([^()]*\\))*\\)'
const index = '\\[(?:\\w+|"[^"]*"|\'[^\']*\')\\]'
/** `user.password`, `config["secret"]`, `nextToken()`, `await loadSecret(name)`, `z.string().min(8)`. */
const expression = new RegExp(
  `^(?:(?:await|new|yield|return|typeof|not|!)\\s+)?(${word}(?:(?:\\??\\.|::|->)${word})*)((?:(?:${argument}|${index})(?:\\??\\.${word})*)*)$`,
)
const typeName =
  /^(?:Optional|Union|List|Annotated|Maybe|Option)\[[^\]]*\](?:\s*=\s*None)?$|^(?:string|str|String|Text|varchar(?:\(\d+\))?|SecretStr|bytes|Buffer|KeyObject|Uint8Array|unknown|any)(?:\s*\|\s*(?:string|str|null|undefined|None|unknown))*(?:\s*=\s*(?:None|null|undefined|""|''))?$/i
const codeLengthMax = 256

/** Whether text after an operator is code or prose about the secret, and not the secret. */
export function isCode(given: string): boolean {
  if (given.length > codeLengthMax) return false
  const text = withoutSeparators(given)
  if (isStatement(text) || typeName.test(text)) return true
  const member = /^([A-Za-z_]+)\??\.[A-Za-z]+(?![\w.-])/.exec(text)
  if (member !== null && isReferenceName(member[1] ?? '')) return true
  const shorter = text.slice(0, tailStart(text))
  const found = expression.exec(text) ?? expression.exec(shorter)
  if (found === null) return false
  const [, path = '', rest = ''] = found
  // A call or an index is code whatever it is called; a path is where its last name says so.
  if (/[([]/.test(rest)) return true
  return path.includes('.') || /[a-z][A-Z]|_/.test(path) || given !== text
    ? isReferenceName(path.replaceAll(/[?$]|::|->/g, (sign) => (sign.length > 1 ? '.' : '')))
    : false
}
