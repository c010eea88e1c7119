import { resolve } from 'node:path'

/** The source of the password of an engine. */
export type PasswordPlace =
  | { readonly from: 'file'; readonly path: string }
  | { readonly from: 'environment'; readonly value: string }
  /** For servers that ask for none. */
  | { readonly from: 'nowhere' }

/** A file counts before the environment: it is what the configuration names. */
export function placePassword(
  passwordFile: string | undefined,
  fromEnvironment: string | null,
): PasswordPlace {
  if (passwordFile !== undefined) return { from: 'file', path: resolve(passwordFile) }
  return fromEnvironment === null
    ? { from: 'nowhere' }
    : { from: 'environment', value: fromEnvironment }
}
