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

  static with<Known extends object, Result extends object>(
    exchange: Exchange<Known>,
    result: Result,
  ): Exchange<Known & Result> {
    // Throws for an object that a cast gave the type of an exchange: it lacks the field.
    void exchange.#known
    return sealed(Object.assign(new Carrier<Known & Result>(), exchange, result))
  }
}

/** Members of `Known` without the keys of its stages. */
type Members<Known> = {
  readonly [Name in keyof Known as Name extends symbol ? never : Name]: Known[Name]
}

/** Functions that need an authorized exchange take `Exchange<Authorized>`, or more. */
export type Exchange<Known> = Carrier<Known> & Members<Known>

/** The first value of an exchange: the result of its first stage. */
export function openExchange<Result extends object>(result: Result): Exchange<Result> {
  return sealed(Object.assign(new Carrier<Result>(), result))
}

/** The exchange with the result of one more stage, which adds members and never replaces one. */
export function extend<Known extends object, Result extends object>(
  exchange: Exchange<Known>,
  result: Result & NotIn<Known, Result>,
): Exchange<Known & Result> {
  return Carrier.with<Known, Result>(exchange, result)
}

type NotIn<Known, Result> = {
  readonly [Name in keyof Result]: Name extends keyof Known ? never : Result[Name]
}

/** `Object.assign` compiles on a read-only member; frozen, the exchange rejects it. */
function sealed<Known>(exchange: Carrier<Known>): Exchange<Known> {
  return Object.freeze(exchange) as Exchange<Known>
}
