import { excerptOf } from './ascii.ts'
import type { CredentialRule } from './credential-rule.ts'
import { STEPS } from './inspection-work.ts'
import { type SecretRule, secretRule } from './secret-names.ts'
import { isSecretValue } from './secret-values.ts'
import type { Scan } from './view.ts'

/** What the value of a switch is: a password, `user:password`, `user%password` or `user/password@…`. */
export type Form = 'password' | 'login' | 'percent' | 'slash'

/** How some programs are told a password. A switch with a star has its value attached. */
interface Row {
  readonly programs: readonly string[]
  readonly switches: Readonly<Record<string, Form>>
}

const list = (text: string): readonly string[] => text.split(',').map((name) => name.trim())

export const COMMAND_LINES: readonly Row[] = [
  {
    programs: list('curl'),
    switches: { '-u*': 'login', '-U*': 'login' },
  },
  {
    programs: list('http, httpie, xh'),
    switches: { '-a': 'login', '-a*': 'login', '--auth': 'login' },
  },
  {
    programs: list(
      'mysql, mysqldump, mysqladmin, mysqlimport, mariadb, mariadb-dump, 7z, 7za, rar, unrar',
    ),
    switches: { '-p*': 'password' },
  },
  {
    programs: list(
      'sshpass, mongo, mongosh, mongodump, mongorestore, az login, docker login, podman login, helm registry login',
    ),
    switches: { '-p': 'password', '-p*': 'password' },
  },
  { programs: list('redis-cli, redis-benchmark'), switches: { '-a': 'password' } },
  {
    programs: list('ldapsearch, ldapmodify, ldapadd, ldapdelete, ldappasswd, ldapwhoami'),
    switches: { '-w': 'password', '-w*': 'password' },
  },
  {
    programs: list('sqlcmd, bcp, zip, unzip, isql, tsql'),
    switches: { '-P': 'password', '-P*': 'password' },
  },
  { programs: list('plink, pscp, psftp, putty'), switches: { '-pw': 'password' } },
  {
    programs: list('smbclient, rpcclient, smbget'),
    switches: { '-U*': 'percent', '--user': 'percent' },
  },
  {
    programs: list('openssl'),
    switches: {
      '-k': 'password',
      '-K': 'password',
      '-passin': 'password',
      '-passout': 'password',
      '-pass': 'password',
    },
  },
  { programs: list('xfreerdp, wfreerdp, mstsc'), switches: { '/p:*': 'password' } },
  { programs: list('sqlplus'), switches: { '*': 'slash' } },
  {
    programs: list('keytool, jarsigner'),
    switches: { '-storepass': 'password', '-keypass': 'password' },
  },
]

/** Of any program: none of them is a password without a user before it. */
const ANY: Readonly<Record<string, Form>> = {
  '-u': 'login',
  '--user': 'login',
  '--proxy-user': 'login',
  '--auth': 'login',
}
const anyKeywords = Object.keys(ANY).map((name) => ` ${name}`)
/** Of these `-u` is a user and a group, a host and a path, or a branch. */
const OTHER_USER = /\b(?:docker|podman|nerdctl|chroot|install|git|rsync|cp|chown|sudo|sort)\b/
const url = /^[a-z][a-z\d+.-]*:\/\//i

const lineBytesMax = 512
const wordsMax = 48

interface Word {
  readonly text: string
  /** Where the text begins in the excerpt, behind a quote. */
  readonly start: number
}

const WORD =
  /"((?:[^"\\\n]|\\.){0,400})"|'([^'\n]{0,400})'|((?:[^\s"'\\]|\\[^\n]){1,400})(?:"((?:[^"\\\n]|\\.){0,400})"|'([^'\n]{0,400})')?/g

/** The words of a command line as a shell divides them, up to where the command ends. */
function wordsOf(line: string): readonly Word[] {
  const words: Word[] = []
  for (const match of line.matchAll(WORD)) {
    const { 0: whole, 3: bare, index } = match
    if (/^(?:[|;]|&&)/.test(whole) || words.length >= wordsMax) break
    const quote = bare === undefined ? 1 : 0
    const text = whole.slice(quote, whole.length - quote)
    words.push({ text, start: index + quote })
  }
  return words
}

const passwordRule = secretRule('password') as SecretRule

function report(scan: Scan, start: number, text: string): void {
  if (!isSecretValue(passwordRule, text)) return
  const end = start + text.length
  scan.found({ dataClass: 'credential', detector: 'command-line-password', start, end })
}

/** `user:password`, and neither a URL nor two numbers: a user and a group, or two ports. */
export const isLogin = (text: string): boolean => !/^\d+:\d+$/.test(text) && !url.test(text)

/** Reports the password in the value of a switch. */
function judge(scan: Scan, word: Word, form: Form, at: number): void {
  const { text } = word
  let from = 0
  let to = text.length
  if (/["']$/.test(text) && !/^["']/.test(text)) to--
  if (form !== 'password') {
    const sign = { login: ':', percent: '%', slash: '/' }[form]
    from = text.indexOf(sign) + 1
    if (from === 0 || (form === 'login' && !isLogin(text))) return
    if (form === 'slash' && text.includes('@')) to = text.indexOf('@')
  } else if (/^(?:pass|env|file):/.test(text)) {
    if (!text.startsWith('pass:')) return
    from = 5
  }
  const inner = text.slice(from, to)
  const quoted = /^["']/.test(inner) ? 1 : 0
  report(scan, at + word.start + from + quoted, inner.slice(quoted))
}

function lineAfter(scan: Scan, at: number): string {
  const { bytes, to } = scan.view
  scan.spend(STEPS.valueByte * lineBytesMax)
  const text = excerptOf(bytes, at, Math.min(to, at + lineBytesMax)).replaceAll(/\\\r?\n/g, (end) =>
    ' '.repeat(end.length),
  )
  const end = /[\r\n]/.exec(text)?.index ?? text.length
  return text.slice(0, end)
}

function readSwitches(scan: Scan, at: number, switches: Readonly<Record<string, Form>>): void {
  const words = wordsOf(lineAfter(scan, at))
  words.forEach((word, i) => {
    const any = switches['*']
    if (any !== undefined && !word.text.startsWith('-')) judge(scan, word, any, at)
    for (const [name, form] of Object.entries(switches)) {
      const next = words[i + 1]
      if (!name.endsWith('*') && word.text === name && next !== undefined)
        judge(scan, next, form, at)
      if (!name.endsWith('*') || name === '*') continue
      const plain = name.slice(0, -1)
      if (word.text === plain && form !== 'password' && next !== undefined)
        judge(scan, next, form, at)
      if (!word.text.startsWith(plain) || word.text.length === plain.length) continue
      const text = word.text.slice(plain.length)
      judge(scan, { text, start: word.start + plain.length }, form, at)
    }
  })
}

function scanProgram(scan: Scan, at: number, keyword: string): void {
  const { bytes, from, to } = scan.view
  const end = at + keyword.length
  if (at > from && /[\w.-]/.test(String.fromCharCode(bytes[at - 1] as number))) return
  const behind = /^(?:\.exe)?[ \t]/.exec(excerptOf(bytes, end, Math.min(to, end + 5)))
  if (behind === null) return
  for (const { programs, switches } of COMMAND_LINES) {
    if (programs.includes(keyword)) readSwitches(scan, end + behind[0].length, switches)
  }
}

function lineBefore({ view }: Scan, at: number): string {
  const before = excerptOf(view.bytes, Math.max(view.from, at - 128), at)
  return before.slice(before.lastIndexOf('\n') + 1)
}

function scanAny(scan: Scan, at: number, keyword: string): void {
  const line = lineAfter(scan, at + keyword.length)
  if (!/[ \t=]/.test(line.charAt(0))) return
  const form = formOfAny(keyword.slice(1), lineBefore(scan, at))
  const skipped = /^[ \t]*=?/.exec(line)?.[0].length ?? 0
  const [word] = wordsOf(line.slice(skipped))
  if (word !== undefined && form !== null) judge(scan, word, form, at + keyword.length + skipped)
}

/** The form of what follows the switch in any command, given the words before it. */
export function formOfAny(name: string, before: string): Form | null {
  return OTHER_USER.test(before) ? null : (ANY[name] ?? null)
}

/** Passwords that a command line holds without a name. */
export const COMMAND_LINE_RULE: CredentialRule = {
  id: 'command-line-password',
  keywords: [...anyKeywords, ...COMMAND_LINES.flatMap(({ programs }) => programs)],
  scan: (scan, at, keyword) => {
    if (keyword.startsWith(' ')) scanAny(scan, at, keyword)
    else scanProgram(scan, at, keyword)
  },
  positives: [
    'curl -u user:correcthorse https://host.example',
    'curl --proxy-user "user:correct horse" host',
    'mysql -uroot -pcorrecthorse db',
    'sshpass -p correcthorse ssh host',
    'docker login -u jane -p correcthorse registry',
    'redis-cli -a correcthorse ping',
    'smbclient //host/share -U jane%correcthorse',
    'openssl rsa -passin pass:correcthorse -in key',
    'tool -u jane:correcthorse',
  ],
  negatives: [
    'curl -u $USER:$PASSWORD https://host.example',
    'docker run -u 1000:1000 -p 8080:80 image',
    'mkdir -p build2024x/out',
    'mysql -p db',
    'grep -u name -p file',
    'tool -p my-project-1',
    'git push -u origin feature-1',
    'git push -u git@host.example:team/repository.git main',
    'nikto -u https://host.example:8443/path',
    'wget -U "Mozilla/5.0 (X11; rv:109.0)" https://host.example',
  ],
}
