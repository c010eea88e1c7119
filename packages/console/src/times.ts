/** Returns `2026-11-27 23:08:01 UTC`: the same in every time zone, as an auditor compares it. */
export function formatUtc(unixMs: number): string {
  const date = new Date(unixMs)
  if (Number.isNaN(date.getTime())) return `${unixMs} ms after 1970`
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** `12 ms`, `3.4 s`, `5 min`. */
export function formatTook(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  return ms < 60_000 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min`
}
