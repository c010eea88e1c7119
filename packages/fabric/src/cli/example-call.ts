import { relative } from 'node:path'

export interface ExampleOrder {
  readonly address: string
  readonly key: string
  readonly rootFile: string
  readonly protocol: 'auto' | 'a2a' | 'mcp' | 'http'
}

const greeting = {
  a2a: {
    headers: ['Content-Type: application/json', 'A2A-Version: 1.0'],
    body: {
      jsonrpc: '2.0',
      id: 1,
      method: 'SendMessage',
      params: { message: { messageId: 'hello-1', role: 'ROLE_USER', parts: [{ text: 'hello' }] } },
    },
  },
  mcp: {
    headers: ['Content-Type: application/json', 'Accept: application/json, text/event-stream'],
    body: {
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: {
        protocolVersion: '2025-06-18',
        capabilities: {},
        clientInfo: { name: 'curl', version: '1' },
      },
    },
  },
  http: null,
  auto: null,
} as const

/**
 * Returns a command line for a shell that calls the protected agent once. Its output includes the
 * headers of the response, because one of them names the exchange.
 */
export function exampleCall({ address, key, rootFile, protocol }: ExampleOrder): string {
  const here = relative('.', rootFile)
  const root = here === '' || here.startsWith('..') ? rootFile : here
  const hello = greeting[protocol]
  const headers = [`X-Api-Key: ${key}`, ...(hello?.headers ?? [])]
  const parts = [
    `curl -i --cacert ${shellWord(root)}`,
    ...headers.map((header) => `-H ${shellWord(header)}`),
    ...(hello === null ? [] : [`-d ${shellWord(JSON.stringify(hello.body))}`]),
    shellWord(address),
  ]
  return parts.join(' \\\n  ')
}

/** One word for a POSIX shell, quoted when it has to be. */
export function shellWord(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`
}
