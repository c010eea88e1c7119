import { STEPS } from '../inspection-work.ts'
import { excerptOf } from '../text/ascii.ts'
import { isLineEnd, isQuoteSign, LineContext } from '../text/line-context.ts'
import type { Scan } from '../text/view.ts'
import type { CredentialRule } from './credential-rule.ts'
import { type SecretRule, secretRule } from './secret-names.ts'
import { isSecretValue } from './secret-values.ts'
import {
  type Around,
  quoteOf,
  rawSpan,
  type ShellWord,
  ShellWords,
  unquoted,
} from './shell-words.ts'

/**
 * The form of a switch's value: a password, `user:password`, `user%password` or `user/password@…`.
 */
export type Form = 'password' | 'login' | 'percent' | 'slash'

/**
 * Switches by which some programs receive a password. A switch with a star has its value attached.
 */
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
const beforeBytesMax = 128
const wordsMax = 48

/**
 * The words of a command, up to where it ends; with a quote that its line leaves open, in two
 * readings.
 */
function readingsOf(
  scan: Scan,
  command: Command,
  countMax = wordsMax,
): readonly (readonly ShellWord[])[] {
  const read = (isLong: boolean): { words: ShellWord[]; isOpen: boolean } => {
    const reader = new ShellWords(command.text, command.from, isLong)
    const words: ShellWord[] = []
    for (let word = reader.next(); word !== null && words.length < countMax; word = reader.next())
      words.push(word)
    return { words, isOpen: reader.isOpen }
  }
  const line = read(false)
  if (!line.isOpen) return [line.words]
  scan.spend(STEPS.valueByte * command.text.length)
  return [line.words, read(true).words]
}

const passwordRule = secretRule('password') as SecretRule

/** `user:password`, and neither a URL nor two numbers: a user and a group, or two ports. */
export const isLogin = (text: string): boolean => !/^\d+:\d+$/.test(text) && !url.test(text)

/**
 * Reports the password in the value of a switch, which begins `offset` characters into its word.
 */
function judge(
  scan: Scan,
  { text, at, places }: Command,
  word: ShellWord,
  how: { form: Form; offset: number },
): void {
  const { form, offset } = how
  const value = word.text.slice(offset)
  let from = 0
  let to = value.length
  // A quote that opened before the command, or that nothing closes.
  if (/["']$/.test(value) && quoteOf(word, word.text.length - 1) < 0 && !/^["']/.test(value)) to--
  if (form !== 'password') {
    const sign = { login: ':', percent: '%', slash: '/' }[form]
    from = value.indexOf(sign) + 1
    if (from === 0 || (form === 'login' && !isLogin(value))) return
    if (form === 'slash' && value.includes('@')) to = value.indexOf('@')
  } else if (/^(?:pass|env|file):/.test(value)) {
    if (!value.startsWith('pass:')) return
    from = 5
  }
  if (/["']/.test(value.charAt(from)) && quoteOf(word, offset + from) < 0) from++
  if (!isSecretValue(passwordRule, value.slice(from, to))) return
  const { start, end } = rawSpan(text, word, { from: offset + from, to: offset + to })
  const placeOf = (offset: number): number => places?.[offset] ?? offset
  scan.found({
    ...{ dataClass: 'credential', detector: 'command-line-password' },
    ...{ start: at + placeOf(start), end: at + placeOf(end) },
  })
}

/** The text after a program or a switch, which holds the words of the command. */
interface Command {
  readonly text: string
  /** Offset of the text in the view. */
  readonly at: number
  /** Offset of the words in the text. */
  readonly from: number
  /** Of each character of the text, from there; null where none was quoted. */
  readonly places: readonly number[] | null
}

function commandAfter(scan: Scan, at: number): Command {
  const { bytes, to } = scan.view
  scan.spend(STEPS.valueByte * lineBytesMax)
  const text = excerptOf(bytes, at, Math.min(to, at + lineBytesMax)).replaceAll(/\\\r?\n/g, (end) =>
    ' '.repeat(end.length),
  )
  const around = aroundAt(scan, at)
  if (around.isSingle || around.isDouble) scan.spend(STEPS.valueByte * text.length)
  return { ...unquoted(text, around), at, from: 0 }
}

/** The quotes that are open at `at`, as far as its line begins near by. */
function aroundAt(scan: Scan, at: number): Around {
  const { bytes, from } = scan.view
  const first = Math.max(from, at - beforeBytesMax)
  let start = at
  let hasQuote = false
  while (start > first && !isLineEnd(bytes[start - 1]))
    hasQuote = isQuoteSign(bytes[--start]) || hasQuote
  if (!hasQuote || (start === first && first > from)) return { isSingle: false, isDouble: false }
  scan.spend(STEPS.valueByte * (at - start))
  const context = new LineContext(bytes, start).moveTo(at)
  const isOpen = (sign: number): boolean => context.closes({ sign, backslashes: 0 })
  return { isSingle: isOpen(0x27), isDouble: isOpen(0x22) }
}

function readSwitches(
  scan: Scan,
  command: Command,
  given: { words: readonly ShellWord[]; switches: Readonly<Record<string, Form>> },
): void {
  const { words, switches } = given
  words.forEach((word, i) => {
    const any = switches['*']
    if (any !== undefined && !word.text.startsWith('-'))
      judge(scan, command, word, { form: any, offset: 0 })
    for (const [name, form] of Object.entries(switches)) {
      const next = words[i + 1]
      if (!name.endsWith('*') && word.text === name && next !== undefined)
        judge(scan, command, next, { form, offset: 0 })
      if (!name.endsWith('*') || name === '*') continue
      const { length } = name.slice(0, -1)
      if (!word.text.startsWith(name.slice(0, -1))) continue
      if (word.text.length > length) judge(scan, command, word, { form, offset: length })
      else if (form !== 'password' && next !== undefined)
        judge(scan, command, next, { form, offset: 0 })
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
    if (!programs.includes(keyword)) continue
    const command = commandAfter(scan, end + behind[0].length)
    for (const words of readingsOf(scan, command)) readSwitches(scan, command, { words, switches })
  }
}

function lineBefore({ view }: Scan, at: number): string {
  const before = excerptOf(view.bytes, Math.max(view.from, at - beforeBytesMax), at)
  return before.slice(before.lastIndexOf('\n') + 1)
}

function scanAny(scan: Scan, at: number, keyword: string): void {
  const command = commandAfter(scan, at + keyword.length)
  const skipped = /^(?:[ \t]+=?|=)/.exec(command.text)?.[0].length ?? 0
  if (skipped === 0) return
  const form = formOfAny(keyword.slice(1), lineBefore(scan, at))
  if (form === null) return
  for (const [word] of readingsOf(scan, { ...command, from: skipped }, 1))
    if (word !== undefined) judge(scan, command, word, { form, offset: 0 })
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
