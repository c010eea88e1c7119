/**
 * One exchange with everything that is known about it so far, as flat members. Each stage adds its
 * finding and gives a new value; the value before it stays as it was.
 *
 * A stage's finding has a member whose key is a symbol that the stage's file does not export. No
 * other file can write one down, and `Members` leaves the key out, so that a copy of an exchange is
 * not a finding either. The class is not exported as a value, and its private field is what an
 * object literal, a spread and a class of the same shape lack.
 */
class Carrier<Known> {
  /** Always null. It ties the type of an exchange to its findings, which must not be widened. */
  readonly #known: Known | null = null

  static with<Known extends object, Finding extends object>(
    exchange: Exchange<Known>,
    finding: Finding,
  ): Exchange<Known & Finding> {
    // Throws for an object that a cast gave the type of an exchange: it lacks the field.
    void exchange.#known
    return sealed(Object.assign(new Carrier<Known & Finding>(), exchange, finding))
  }
}

/** Members of `Known` without the keys of its stages. */
type Members<Known> = {
  readonly [Name in keyof Known as Name extends symbol ? never : Name]: Known[Name]
}

/** Functions that need an authorized exchange take `Exchange<Authorized>`, or more. */
export type Exchange<Known> = Carrier<Known> & Members<Known>

/** The first value of an exchange: what its first stage found. */
export function openExchange<Finding extends object>(finding: Finding): Exchange<Finding> {
  return sealed(Object.assign(new Carrier<Finding>(), finding))
}

/** The exchange with one more finding. A finding adds members; it never replaces one. */
export function extend<Known extends object, Finding extends object>(
  exchange: Exchange<Known>,
  finding: Finding & NotIn<Known, Finding>,
): Exchange<Known & Finding> {
  return Carrier.with<Known, Finding>(exchange, finding)
}

type NotIn<Known, Finding> = {
  readonly [Name in keyof Finding]: Name extends keyof Known ? never : Finding[Name]
}

/** `Object.assign` compiles on a read-only member; frozen, the exchange rejects it. */
function sealed<Known>(exchange: Carrier<Known>): Exchange<Known> {
  return Object.freeze(exchange) as Exchange<Known>
}
