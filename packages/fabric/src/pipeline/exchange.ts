/**
 * One exchange with everything that is known about it so far, as flat members. Each stage adds its
 * result and gives a new value; the value before it stays as it was.
 *
 * A stage's result has a member whose key is a symbol that the stage's file does not export. No
 * other file can write one down, and `Members` leaves the key out, so that a copy of an exchange is
 * not a result either. The class is not exported as a value, and its private field is what an
 * object literal, a spread and a class of the same shape lack.
 */
class Carrier<Known> {
  /** Always null. It ties the type to the results of the stages, which must not be widened. */
  readonly #known: Known | null = null

  static open<Result extends object>(result: Result): Exchange<Result> {
    return Carrier.#make<Result>({}, result)
  }

  static with<Known extends object, Result extends object>(
    exchange: Exchange<Known>,
    result: Result,
  ): Exchange<Known & Result> {
    // Throws for an object that a cast gave the type of an exchange: it lacks the field.
    void exchange.#known
    return Carrier.#make<Known & Result>(exchange as Slots & Exchange<Known>, result)
  }

  static #make<Known>(previous: Slots, result: Slots & object): Exchange<Known> {
    const made: Slots & Carrier<Known> = new Carrier<Known>()
    // Written out, so that all exchanges have one shape: a copy takes a fifth of the time that
    // `Object.assign` takes. The keys of the stages are not copied.
    made.presented = previous.presented
    made.id = previous.id
    made.at = previous.at
    made.transport = previous.transport
    made.target = previous.target
    made.received = previous.received
    made.signature = previous.signature
    made.left = previous.left
    made.caller = previous.caller
    made.signed = previous.signed
    made.decision = previous.decision
    made.question = previous.question
    made.policyVersion = previous.policyVersion
    made.quota = previous.quota
    made.forwardable = previous.forwardable
    made.findings = previous.findings
    made.upload = previous.upload
    made.approval = previous.approval
    made.intent = previous.intent
    for (const name in result) made[name as Name] = result[name as Name]
    // `Object.assign` compiles on a read-only member; frozen, the exchange rejects it.
    return Object.freeze(made) as Slots & Exchange<Known>
  }
}

/** The names of all members. A stage that adds one has it here, and in `Carrier.#make`. */
type Name =
  | 'presented'
  | 'id'
  | 'at'
  | 'transport'
  | 'target'
  | 'received'
  | 'signature'
  | 'left'
  | 'caller'
  | 'signed'
  | 'decision'
  | 'question'
  | 'policyVersion'
  | 'quota'
  | 'forwardable'
  | 'findings'
  | 'upload'
  | 'approval'
  | 'intent'

type Slots = { [Each in Name]?: unknown }

/** Members of `Known` without the keys of its stages. */
type Members<Known> = {
  readonly [Each in keyof Known as Each extends symbol ? never : Each]: Known[Each]
}

/** Functions that need an authorized exchange take `Exchange<Authorized>`, or more. */
export type Exchange<Known> = Carrier<Known> & Members<Known>

/** The first value of an exchange: the result of its first stage. */
export function openExchange<Result extends object>(
  result: Result & NotIn<object, Result>,
): Exchange<Result> {
  return Carrier.open<Result>(result)
}

/** The exchange with the result of one more stage, which adds members and never replaces one. */
export function extend<Known extends object, Result extends object>(
  exchange: Exchange<Known>,
  result: Result & NotIn<Known, Result>,
): Exchange<Known & Result> {
  return Carrier.with<Known, Result>(exchange, result)
}

/** A result that has no member of `Known`, and none that is not listed. */
type NotIn<Known, Result> = {
  readonly [Each in keyof Result]: Each extends keyof Known
    ? never
    : Each extends Name | symbol
      ? Result[Each]
      : never
}
