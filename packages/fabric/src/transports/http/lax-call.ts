import { unescapeAll } from './unescape-all.ts'
import { WordMatcher } from './word-matcher.ts'

/** Without either of these no reader finds a call. Members with a colon or an equals sign behind. */
const marks = new WordMatcher({
  jsonrpc: ['jsonrpc'],
  method: ['method'],
  member: ['^method:', '^result:', '^error:'],
})

/**
 * The methods of A2A and MCP, each as far as it is unlike other text. `everyday` are those whose
 * names are words of any text: these count beside `jsonrpc`, as the value of `method`, and where
 * YAML's aliases stand for either.
 */
const methods = new WordMatcher({
  method: [
    ...['message/send', 'message/stream', 'tasks/get', 'tasks/list', 'tasks/cancel', 'tasks/send'],
    ...['tasks/resu', 'tasks/update', 'tasks/pushno', 'taskpushno', 'agent/getauth'],
    ...['^sendmessage', '^sendstreamingm', '^gettask', '^listtasks', '^canceltask'],
    ...['^subscribetotask', '^getextendeda'],
    ...['server/discover', 'tools/list', 'tools/call', 'resources/list', 'resources/templ'],
    ...['resources/read', 'resources/subs', 'resources/unsubs', 'prompts/list', 'prompts/get'],
    ...['completion/compl', 'logging/setlevel', 'subscriptions/listen'],
  ],
  everyday: ['^initialize', '^ping', '^notifications/'],
  value: ['~method:initialize', '~method:ping', '~method:notifications/'],
  alias: ['method:*'],
  anchor: ['~& method'],
})

/**
 * Whether some reader could find an A2A or MCP call in `text`, in whatever notation: JSON with
 * comments, single quotes, a prefix or a second document behind it, JSON5, YAML, a form whose fields
 * are the members or whose field holds the call. It looks for the words that every notation has to
 * write, not for any notation, so it finds more calls than there are. It never decides what a call
 * asks for, only that text is not to pass as something else. Linear in the text.
 */
export function mayHoldCall(text: string): boolean {
  if (namesCall(text)) return true
  const plain = unescapeAll(text)
  if (plain === text) return false
  if (namesCall(plain)) return true
  return hasBareHex(plain) && namesCall(unescapeAll(text, 'bare-hex'))
}

function namesCall(text: string): boolean {
  const marked = marks.find(text)
  const isRpc = marked.has('jsonrpc')
  if (isRpc && marked.has('member')) return true
  if (isRpc || marked.has('method')) {
    const found = methods.find(text)
    if (found.has('method') || found.has('value')) return true
    const isAliased = found.has('alias') || (found.has('anchor') && text.includes('*'))
    if (found.has('everyday') && (isRpc || isAliased)) return true
  }
  return hasHiddenValue(text)
}

/** Strings of PHP's serialization whose backslashes stand before two hexadecimal digits. */
function hasBareHex(text: string): boolean {
  return /\bS:[0-9]/.test(text)
}

/** YAML gives a tag of the document's own, and values in base64, which say what no letter shows. */
function hasHiddenValue(text: string): boolean {
  return /!binary|2002:binary|%TAG/i.test(text)
}
