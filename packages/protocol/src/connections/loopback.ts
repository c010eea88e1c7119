/** Hosts that never leave the machine, as `URL.hostname` writes them. */
export const loopbackHostnames: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]'])

/** The members of a `URL` that decide whether its traffic may go in clear. */
export interface Destination {
  readonly protocol: string
  readonly hostname: string
}

/** Returns whether what is sent to this URL is encrypted, or stays on the machine. */
export function isConfidential({ protocol, hostname }: Destination): boolean {
  return protocol === 'https:' || (protocol === 'http:' && loopbackHostnames.has(hostname))
}
