/**
 * A member's name as the laxest reader takes it. Go's `encoding/json` and .NET's web defaults do not
 * look at case, Go folds `ſ` and the Kelvin sign as well, and protobuf's JSON takes the snake-case
 * spelling of every name. What they read as a name that policy decides by, we must not read past.
 */
export function foldedName(name: string): string {
  return name.normalize('NFKC').toLowerCase().replaceAll('_', '')
}

/** A member of `record` that some reader takes for one of `names` and others do not; null if none. */
export function findLookalike(
  record: Readonly<Record<string, unknown>>,
  names: ReadonlySet<string>,
): string | null {
  for (const name of Object.keys(record)) {
    if (!names.has(name) && names.has(foldedName(name))) return name
  }
  return null
}
