import {
  isAgentName,
  isLegible,
  isSealedLabel,
  PRINCIPAL_KEY_LENGTH_MAX,
  SEALED_LABELS_MAX,
} from '@countersign/protocol'
import {
  between,
  type Domain,
  elementsOf,
  type Grammar,
  oneOf,
  quote,
  spelt,
  textsOf,
} from './domains.ts'
import type { PolicyContext, PolicyRequest } from './policy.ts'
import {
  canBeCalled,
  isOwner,
  isSegmentName,
  isToolName,
  isUser,
  type RequestKind,
  secondsMax,
  toolLengthMax,
} from './possible.ts'
import { ENTITY_TYPES } from './schema.ts'

/**
 * Every field of `context` as a policy sees it: those of the request, and those made from its time.
 */
type ContextField = keyof Required<PolicyContext> | 'now' | 'weekday'

const nameLengthMax = 63

function grammarOf(fits: (text: string) => boolean, letters: RegExp, lengthMax: number): Grammar {
  return { fits, canHold: (piece) => letters.test(piece), lengthMax }
}

const nameLetters = /^[a-z0-9._-]*$/
const nameOrNone = (text: string) => text === '' || isOwner(text)

const scheme = 'https://'

/** A bare name, or the canonical form of a principal of another issuer. */
function principalGrammar(fits: (text: string) => boolean): Grammar {
  return {
    fits,
    canHold: (piece, at) =>
      nameLetters.test(piece) ||
      (at === 'start'
        ? piece.startsWith(scheme) || scheme.startsWith(piece)
        : /^[\x21-\x7e]*$/.test(piece)),
    lengthMax: PRINCIPAL_KEY_LENGTH_MAX,
  }
}

const grammars = {
  owner: principalGrammar(nameOrNone),
  user: principalGrammar((text) => text === '' || isUser(text)),
  tool: {
    fits: isToolName,
    // Next to letters, a piece has the neighbours that forbid it least.
    canHold: (piece, at) =>
      piece === '' || isLegible(`${at === 'start' ? '' : 'a'}${piece}${at === 'end' ? '' : 'a'}`),
    lengthMax: toolLengthMax,
  },
  label: grammarOf(isSealedLabel, /^[a-z0-9._:-]*$/, nameLengthMax),
} as const satisfies Readonly<Record<string, Grammar>>

export const GROUPS = { Role: isAgentName, Segment: isSegmentName } as const

/**
 * Possible values of each field in a request of this kind. A field added to policy does not compile
 * without an entry here.
 */
export const CONTEXT_DOMAINS: Readonly<Record<ContextField, (kind: RequestKind) => Domain>> = {
  transport: ({ transport }) => oneOf([quote(transport)]),
  protocol: ({ protocol }) => oneOf([quote(protocol)]),
  operation: ({ operations }) => textsOf(operations),
  tool: ({ named }) => (named ? spelt(grammars.tool) : oneOf(['""'])),
  method: ({ methods }) => oneOf(methods.map(quote)),
  signed: () => oneOf(['true', 'false']),
  risk: () => between(0, 100),
  labels: ({ labelled }) => elementsOf(grammars.label, labelled ? SEALED_LABELS_MAX : 0),
  user: ({ transport }) => (transport === 'mesh' ? oneOf(['""']) : spelt(grammars.user)),
  taskOwner: ({ ofTask }) => (ofTask ? spelt(grammars.owner) : oneOf(['""'])),
  time: () => between(0, secondsMax),
  now: () => between(0, secondsMax * 1000 + 999),
  weekday: () => between(1, 7),
}

/**
 * Returns the possible values of each part that policy can test in one kind of request, by the part
 * as Cedar writes it.
 */
export function domainsOf(
  kind: RequestKind,
  principal: PolicyRequest['principal']['kind'],
): ReadonlyMap<string, Domain> {
  const fields = Object.entries(CONTEXT_DOMAINS).map(
    ([name, domain]) => [`context.${name}`, domain(kind)] as const,
  )
  return new Map<string, Domain>([
    ...fields,
    ['action', oneOf([`Action::${quote(kind.action)}`])],
    ...subject('principal', principal),
    ...subject('resource', kind.resource),
  ])
}

function subject(part: string, kind: PolicyRequest['principal']['kind'] | RequestKind['resource']) {
  const fits = (name: string) => canBeCalled(kind, name)
  const grammar =
    part === 'principal'
      ? principalGrammar(fits)
      : grammarOf((name) => fits(name) && isAgentName(name), nameLetters, nameLengthMax)
  return [
    [typeOf(part), oneOf([ENTITY_TYPES[kind]])],
    [`${part}.name`, kind === 'fabric' ? oneOf(['"fabric"']) : spelt(grammar)],
  ] as const
}

/**
 * Returns the key that holds the type of `principal` or `resource`; it cannot collide with a part
 * of Cedar.
 */
export function typeOf(part: string): string {
  return `${part} is`
}
